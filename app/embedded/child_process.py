"""Child processes that cannot outlive us, the ports they listen on and the locks they hold.

The API server's own workers are grandchildren, which tie themselves to their parent by `die_with_parent`.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

LAUNCHER = Path(__file__).with_name("launch.py")
SAME_IDENTITY = "same"
LOG_LIMIT_BYTES = 8 * 1024 * 1024  # at a start a longer log moves aside; one predecessor is kept
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


class EmbeddedServerError(Exception):
    """An embedded server cannot be started or used; the message says why and what to do."""


def start_child(
    command: Sequence[str],
    *,
    log: IO[bytes] | int,
    death_signal: signal.Signals = signal.SIGTERM,
    identity: str = SAME_IDENTITY,
    keep_open: tuple[int, ...] = (),
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `command` so that the kernel sends it `death_signal` when we end, however we end.

    Call it from the main thread: the kernel counts the end of the calling thread as the parent's end.
    The child has a session of its own, so that Ctrl-C reaches only us and we decide the order of stopping.
    """
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal)), identity]
    return subprocess.Popen(
        [*launcher, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=keep_open,
        env=environment,
        cwd=directory,
        start_new_session=True,
    )


def die_with_parent(signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Asks the kernel to send `signal_number` to this process as soon as its parent is gone.

    For grandchildren of the supervisor (the API server's own workers): the direct children are tied by
    the launcher. SIGKILL by default, because a parent that vanished cannot wait for an orderly end, and
    every unit of work here is safe to repeat. Does nothing where the kernel has no such service.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    is_orphan = parent == 1 or os.getppid() != parent  # already before the request, or just now
    if is_orphan:
        os.kill(os.getpid(), signal_number)


def server_environment() -> dict[str, str]:
    """Our environment without the settings and URLs, whose passwords are no business of a server."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL") and not name.startswith("HOLDFAST_")
    }


def stop_child(child: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Sends each signal in turn, giving it its seconds, until the child has ended."""
    for signal_number, patience_seconds in steps:
        if child.poll() is not None:
            return
        child.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_seconds)


def wait_until(
    ready: Callable[[], bool],
    *,
    alive: Callable[[], bool],
    deadline_seconds: float,
    failure: Callable[[str], str],
) -> None:
    """Polls `ready`; an ended process or a passed deadline is an error whose text `failure` composes."""
    end = time.monotonic() + deadline_seconds
    while not ready():
        if not alive():
            raise EmbeddedServerError(failure("ended during its start"))
        if time.monotonic() > end:
            raise EmbeddedServerError(failure(f"was not ready within {deadline_seconds:.0f} seconds"))
        time.sleep(_POLL_SECONDS)


def free_port() -> int:
    """A port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lock_file(path: Path, patience_seconds: float, *, busy: Callable[[str], str]) -> int:
    """Takes an exclusive lock on `path`, notes our pid in it and returns the descriptor that holds it.

    A server is given the descriptor too: the lock stays taken until the last of its processes has ended, so a
    new start can never meet the remains of an old one. `busy` composes the error from the holder's pid.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + patience_seconds
    while not _try_lock(descriptor):
        if time.monotonic() > end:
            holder = path.read_text().strip() or "unknown"
            os.close(descriptor)
            raise EmbeddedServerError(busy(holder))
        time.sleep(_POLL_SECONDS)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_log(path: Path) -> IO[bytes]:
    """Opens a log for appending; one that has grown long moves aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, indented for an error message."""
    try:
        content = path.read_text(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join("    " + line for line in content.splitlines()[-lines:]) or "    (the log is empty)"
