"""Files and directories that are ours alone: how they are made, and the check that they still are.

Somebody who can write to the data directory could plant passwords and programs there, and with them become the owner of
the ledger. So a directory or secret that others can change or read is refused, with what to do about it.

The passwords of the embedded servers are generated once for each data directory, and kept in such a file.
"""

import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from app.embedded.child_process import EmbeddedServerError

SECRETS = ("secrets.json", "cache.conf", "run.json", "api-key", "signing-key")
"""Files of the data directory that hold passwords or keys."""

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_MAY_ANYTHING = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all; the same text is not written twice."""
    if _holds(path, text):
        return
    draft = _drafted(path, text)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def make_private(path: Path, text: str) -> bool:
    """Writes a file that only its owner can read, unless there is one already; returns whether it was written."""
    draft = _drafted(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _drafted(path: Path, text: str) -> Path:
    """A file beside `path` that holds the text, on disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def require_private(data_dir: Path) -> None:
    """Raises EmbeddedServerError unless the data directory and the secrets in it are ours alone."""
    _require_private_directory(data_dir)
    for name in SECRETS:
        if os.path.lexists(data_dir / name):
            require_private_file(data_dir / name)


def _require_private_directory(directory: Path) -> None:
    status = directory.stat()
    _require_ours(directory, status, "The data directory")
    if not status.st_mode & _OTHERS_MAY_WRITE:
        return
    if not any(directory.iterdir()):
        directory.chmod(0o700)  # just made, with the usual permissions of a group; nobody has put anything there
        return
    raise EmbeddedServerError(
        f"Others can write to the data directory {directory} (mode {_mode(status)}), so what is in it may not be ours. "
        f"If you trust what is in it, run chmod 700 {directory}; otherwise choose another --data-dir."
    )


def require_private_file(path: Path) -> None:
    """Raises EmbeddedServerError unless the file is an ordinary one that only we can read."""
    status = path.lstat()
    _require_ours(path, status, "The file")
    if not stat.S_ISREG(status.st_mode):
        raise EmbeddedServerError(f"{path} holds secrets and must be an ordinary file, which it is not. Remove it.")
    if status.st_mode & _OTHERS_MAY_ANYTHING:
        raise EmbeddedServerError(
            f"{path} holds secrets, and others have access to it (mode {_mode(status)}). "
            f"If nobody else has read or changed it, run chmod 600 {path}."
        )


def _require_ours(path: Path, status: os.stat_result, what: str) -> None:
    if status.st_uid != os.geteuid():
        raise EmbeddedServerError(
            f"{what} {path} belongs to somebody else (user id {status.st_uid}), and we run as user id {os.geteuid()}. "
            "Run as that user, or choose another --data-dir."
        )


def _holds(path: Path, text: str) -> bool:
    try:
        require_private_file(path)
        return path.read_text() == text
    except (OSError, ValueError, EmbeddedServerError):
        return False


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


@dataclass(frozen=True)
class Credentials:
    """The passwords of the ledger's owner, of the application's role and of the cache."""

    owner_password: str
    app_password: str
    cache_password: str


def load_or_create_credentials(path: Path) -> Credentials:
    """Reads the passwords, or generates them; the file is readable by its owner only."""
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    created = Credentials(*(secrets.token_urlsafe(24) for _ in range(3)))
    write_private(path, json.dumps(asdict(created), indent=2) + "\n")
    return created
