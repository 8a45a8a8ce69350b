"""Makes sure that the pinned packages are installed before anything imports them. Standard library only.

Versions are pinned in requirements*.txt; the lock file beside each adds the hashes of the packages, and pip installs
nothing that has another. .ci/lock writes the lock files.

An interpreter that has every package at its pinned version is used as it is. Otherwise an environment is
made in `.venv` of the project, or in the data directory when the project cannot be written to, and this
process continues in it.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ALWAYS = "requirements.txt"
EMBEDDED = "requirements-embedded.txt"
TESTS = "requirements-dev.txt"
BENCH = "requirements-bench.txt"
TRACING = "requirements-tracing.txt"

WHEELHOUSE = "HOLDFAST_WHEELHOUSE"

_CONTINUED = "HOLDFAST_BOOTSTRAP_PID"  # exec keeps the pid, so our own value differs from an inherited one
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==(?P<version>[^\s;#]+)\s*(#.*)?$")
_OLDEST = (3, 11)

UNREACHABLE = "Packages come from PyPI or the index that PIP_INDEX_URL names: is it reachable? Then start again."
MISSING_IN_WHEELHOUSE = (
    "Packages come from {wheelhouse} alone. Fill it on a machine with a network, the same Python version and the same "
    "kind of processor: python3 -m pip download -d {wheelhouse} -r requirements.lock -r requirements-embedded.lock"
)


class BootstrapError(Exception):
    """The environment cannot be made; the message says why and what to do."""


def ensure(
    project: Path,
    data_dir: Path,
    argv: Sequence[str],
    *,
    for_tests: bool = False,
    for_bench: bool = False,
    wheelhouse: Path | None = None,
) -> None:
    """Returns if this interpreter has all packages; otherwise continues this command in one that has.

    `argv` is the command line after `python3 -m app`. With a `wheelhouse` packages come from that directory alone.
    """
    files = requirement_files(project, for_tests=for_tests, for_bench=for_bench)
    own_home = Path(sys.prefix)
    if is_stamped(own_home, files) or not missing(files):
        return
    if os.environ.get(_CONTINUED) == str(os.getpid()):
        raise BootstrapError(f"Packages are still missing after their installation: {', '.join(missing(files))}.")
    continue_in(prepare(homes(project, data_dir), files, wheelhouse or given_wheelhouse()), project, argv)


def requirement_files(project: Path, *, for_tests: bool, for_bench: bool = False) -> list[Path]:
    """Which packages this run needs: production's; the servers' unless given from outside; the tests'; the bench's."""
    external = os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")
    names = [ALWAYS]
    names += [EMBEDDED] if for_tests or for_bench or not external else []
    names += [TESTS] if for_tests else []
    names += [BENCH] if for_tests or for_bench else []
    names += [TRACING] if for_tests or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else []
    return [project / name for name in names]


def pins(text: str) -> dict[str, str]:
    """Package name to version. A line with an environment marker is left to pip's judgement."""
    matches = (_PIN.match(line.strip()) for line in text.splitlines())
    return {match["name"]: match["version"] for match in matches if match}


def missing(files: Sequence[Path]) -> list[str]:
    """The pins that this interpreter does not satisfy exactly."""
    wanted = {name: version for file in files for name, version in pins(file.read_text()).items()}
    return [f"{name}=={version}" for name, version in wanted.items() if installed_version(name) != version]


def installed_version(name: str) -> str | None:
    """The version this interpreter would import, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def homes(project: Path, data_dir: Path) -> list[Path]:
    """Where an environment may be, best first."""
    return [project / ".venv", data_dir.absolute() / "venv"]


def given_wheelhouse() -> Path | None:
    """The directory of packages that the environment names."""
    name = os.environ.get(WHEELHOUSE)
    if name and not Path(name).is_dir():
        raise BootstrapError(f"{WHEELHOUSE} must name a directory of packages, and {name} is none.")
    return Path(name).absolute() if name else None


def prepare(candidates: Sequence[Path], files: Sequence[Path], wheelhouse: Path | None = None) -> Path:
    """The interpreter of an environment with all packages, made or refreshed if there is none."""
    for home in candidates:
        if is_stamped(home, files) and is_usable(home):
            return interpreter(home)
    home = first_writable(candidates)
    with locked(home):
        if not (is_stamped(home, files) and is_usable(home)):
            build(home, files, wheelhouse)
    return interpreter(home)


def first_writable(candidates: Sequence[Path]) -> Path:
    """The first of the candidates that we can write to."""
    for home in candidates:
        if is_writable(home):
            return home
    directories = " nor ".join(str(one) for one in candidates)
    raise BootstrapError(
        f"The packages are not installed, and neither {directories} can be written to. "
        "Name a directory that can with --data-dir."
    )


def build(home: Path, files: Sequence[Path], wheelhouse: Path | None = None) -> None:
    """Creates the environment if needed and installs the packages; the stamp comes last."""
    installer = [str(interpreter(home)), "-m", "pip"]
    if not is_usable(home):
        installer = create(home)
    elif not has_pip(home):
        installer = borrowed_pip(home)
    count = sum(len(pins(file.read_text())) for file in files)
    with step(f"installing {count} packages"):
        options = ["--require-hashes", *(option for file in files for option in ("-r", str(file.with_suffix(".lock"))))]
        source = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse else []
        advice = MISSING_IN_WHEELHOUSE.format(wheelhouse=wheelhouse) if wheelhouse else UNREACHABLE
        run([*installer, "install", "--no-input", "--disable-pip-version-check", *source, *options], home, advice)
    stamp(home, files)


def create(home: Path) -> list[str]:
    """Makes an empty environment; returns the command line of an installer for it.

    The pip of this interpreter serves if there is one: to install another takes longer than half the packages do.
    """
    clear(home)
    python = getattr(sys, "_base_executable", sys.executable)
    has_own_pip = importlib.util.find_spec("pip") is None and importlib.util.find_spec("ensurepip") is not None
    if not has_own_pip:
        borrowed_pip(home)  # says what to install when there is none to borrow
    version = ".".join(str(part) for part in sys.version_info[:3])
    with step(f"creating {home} (Python {version})"):
        run([python, "-m", "venv", *([] if has_own_pip else ["--without-pip"]), str(home)], home)
    return [str(interpreter(home)), "-m", "pip"] if has_own_pip else borrowed_pip(home)


def borrowed_pip(home: Path) -> list[str]:
    """The pip of this interpreter, pointed at the environment."""
    if importlib.util.find_spec("pip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise BootstrapError(
            "This Python has neither ensurepip nor pip, so no packages can be installed.\n"
            f"On Debian or Ubuntu: apt-get install python{version}-venv (or python3-venv), then start again."
        )
    return [sys.executable, "-m", "pip", "--python", str(interpreter(home))]


def run(command: Sequence[str], home: Path, advice: str = "") -> None:
    """Runs one step with its output in a log; a failure shows the end of it, and then the advice."""
    log = home / "bootstrap.log"
    with log.open("w") as output:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(),
            check=False,
        )
    if result.returncode == 0:
        return
    end = "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-15:])
    raise BootstrapError(
        f"This step failed with exit code {result.returncode}: {' '.join(command)}\n"
        f"The log, {log}, ends:\n{end}\n{advice}".rstrip()
    )


def clean_environment() -> dict[str, str]:
    """Our environment without the variables that send pip or Python to packages elsewhere."""
    misleading = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "__PYVENV_LAUNCHER__"}
    return {**{key: value for key, value in os.environ.items() if key not in misleading}, "PIP_USER": "0"}


def continue_in(python: Path, project: Path, argv: Sequence[str]) -> None:
    """Replaces this process by the same command under another interpreter; never returns."""
    environment = clean_environment()
    environment.pop("PIP_USER")
    environment[_CONTINUED] = str(os.getpid())
    if Path.cwd() != project:
        environment["PYTHONPATH"] = str(project)
    sys.stdout.flush()
    os.execve(python, [str(python), "-m", "app", *argv], environment)  # noqa: S606 - no shell is wanted


def interpreter(home: Path) -> Path:
    """The environment's Python."""
    return home / "bin" / "python"


def is_usable(home: Path) -> bool:
    """Whether the environment's interpreter runs, is new enough and looks for packages where they are."""
    if not os.access(interpreter(home), os.X_OK):
        return False
    code = "import sys; print(*sys.version_info[:2])"
    command = [str(interpreter(home)), "-I", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return False
    major, minor = (int(part) for part in result.stdout.split())
    return (major, minor) >= _OLDEST and packages(home, f"{major}.{minor}").is_dir()


def has_pip(home: Path) -> bool:
    """Whether the environment can install for itself."""
    return any(home.glob("lib/python*/site-packages/pip"))


def packages(home: Path, version: str) -> Path:
    """Where the environment keeps its packages."""
    return home / "lib" / f"python{version}" / "site-packages"


def is_writable(home: Path) -> bool:
    """Whether the environment can be made or changed there."""
    nearest = next(directory for directory in (home, *home.parents) if directory.exists())
    return os.access(nearest, os.W_OK | os.X_OK)


def clear(home: Path) -> None:
    """Removes a broken environment, but not the lock inside it that others may be waiting for."""
    for entry in home.iterdir():
        if entry.name == ".lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def stamp(home: Path, files: Sequence[Path]) -> None:
    """Records what was installed, in addition to what was recorded before."""
    noted = {**read_stamp(home), **digests(files)}
    draft = home / ".stamp.new"
    draft.write_text(json.dumps(noted, indent=2) + "\n")
    draft.replace(home / ".stamp.json")


def is_stamped(home: Path, files: Sequence[Path]) -> bool:
    """Whether exactly these requirements were installed there, for a Python that still finds them."""
    noted = read_stamp(home)
    return all(noted.get(name) == digest for name, digest in digests(files).items()) and (
        Path(sys.prefix) != home or packages(home, f"{sys.version_info[0]}.{sys.version_info[1]}").is_dir()
    )


def digests(files: Sequence[Path]) -> dict[str, str]:
    """File name to the hash of its content."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_stamp(home: Path) -> dict[str, str]:
    """What was installed; nothing if there is no readable record."""
    try:
        noted = json.loads((home / ".stamp.json").read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Lets one start at a time prepare the environment; the others wait, and find it ready."""
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may be the data directory, which is ours alone
    home.mkdir(exist_ok=True)
    with (home / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("waiting for another start that prepares the environment"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def step(text: str) -> Iterator[None]:
    """Prints what is being done, and then how long it took."""
    print(f"holdfast: {text} ...", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - start:.1f} s", flush=True)
