"""One system per data directory: who holds its lock, where its servers are, and how a command reaches them."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from app.embedded.child_process import EmbeddedServerError, lock_file
from app.embedded.private_files import require_private, write_private
from app.embedded.servers import EmbeddedServers, ServerUrls

LOOK_SECONDS = 0.5  # a look at who has the lock takes it for a moment
WAIT_SECONDS = 60.0  # for a system that is just starting or stopping, or for another command


@dataclass(frozen=True)
class External:
    """The servers given from outside, by the environment; None where we run our own."""

    database_url: str | None
    owner_database_url: str | None
    redis_url: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "External":
        """Reads the variables; without an owner's URL the application's own role owns the schema."""
        database = environment.get("DATABASE_URL") or None
        owner = environment.get("HOLDFAST_OWNER_DATABASE_URL") or database
        return cls(database, owner if database else None, environment.get("REDIS_URL") or None)

    def embedded(self, data_dir: Path, *, damaged_cache: str | None = None) -> EmbeddedServers:
        """The servers that are left for us to run."""
        return EmbeddedServers(
            data_dir,
            postgres=self.database_url is None,
            cache=self.redis_url is None,
            damaged_cache=damaged_cache,
        )

    def urls(self, servers: EmbeddedServers) -> ServerUrls:
        """Given URLs first, ours otherwise."""
        return ServerUrls(
            self.owner_database_url or servers.owner_database_url,
            self.database_url or servers.database_url,
            self.redis_url or servers.redis_url,
        )


def address_of(host: str, port: int) -> str:
    """The URL of a host and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True)
class Running:
    """What a running system tells about itself in `<data-dir>/run.json`."""

    pid: int
    host: str
    port: int
    owner_database_url: str = field(repr=False)
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    started_at: str = ""
    """When it became ready the first time: RFC 3339, in UTC."""
    processes: dict[str, int] = field(default_factory=dict)
    """The process ids of servers, workers and API, by name."""

    @property
    def address(self) -> str:
        """Where its API and its pages are reached from this machine."""
        return address_of(self.host, self.port)

    @property
    def urls(self) -> ServerUrls:
        """Where its servers are."""
        return ServerUrls(self.owner_database_url, self.database_url, self.redis_url)


@contextmanager
def exclusive(data_dir: Path) -> Iterator[bool]:
    """Holds the data directory for one system; a second one is told who has it.

    The kernel lets go of the lock when the holder ends, however it ends; what a dead one announced is removed,
    and True is yielded then.
    """
    descriptor = lock_file(data_dir / "lock", LOOK_SECONDS, busy=lambda holder: _busy(data_dir, holder))
    try:
        has_dead_predecessor = (data_dir / "run.json").exists()
        (data_dir / "run.json").unlink(missing_ok=True)
        yield has_dead_predecessor
    finally:
        (data_dir / "run.json").unlink(missing_ok=True)
        os.close(descriptor)


def holder(data_dir: Path) -> int | None:
    """The process id of the system or command that holds the data directory; None when none does."""
    try:
        with (data_dir / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = (data_dir / "lock").read_text().strip()
        return int(text) if text.isdigit() else 0
    except FileNotFoundError:
        return None
    return None


def announce(data_dir: Path, running: Running) -> None:
    """Says that the system runs and where."""
    write_private(data_dir / "run.json", json.dumps(asdict(running), indent=2) + "\n")


def announced(data_dir: Path) -> Running | None:
    """What was announced; trust it only while the directory's lock is held."""
    try:
        noted = json.loads((data_dir / "run.json").read_text())
        return Running(**{one.name: noted[one.name] for one in fields(Running) if one.name in noted})
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def attached(data_dir: Path) -> Iterator[ServerUrls]:
    """The URLs a command works with: from the environment, of the running system, or of servers just for it.

    Raises EmbeddedServerError when there is no data to work on.
    """
    external = External.of(os.environ)
    if external.owner_database_url and external.database_url and external.redis_url:
        yield ServerUrls(external.owner_database_url, external.database_url, external.redis_url)
        return
    data_dir = data_dir.resolve()
    _require_data(data_dir)
    require_private(data_dir)
    with contextlib.ExitStack() as stack:
        running = _running_or_held(data_dir, stack)
        if running is None:
            servers = stack.enter_context(external.embedded(data_dir))
        yield running.urls if running else external.urls(servers)


def _running_or_held(data_dir: Path, stack: contextlib.ExitStack) -> Running | None:
    """The running system, or None with the directory held by `stack`."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            stack.enter_context(exclusive(data_dir))
            return None
        except EmbeddedServerError:
            if running := announced(data_dir):
                return running
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def _require_data(data_dir: Path) -> None:
    if (data_dir / "postgres").exists() or (data_dir / "cache").exists():
        return
    raise EmbeddedServerError(
        f"There is no data in {data_dir}. Start the system there once with python3 -m app, name another directory with "
        "--data-dir, or set DATABASE_URL and REDIS_URL."
    )


def _busy(data_dir: Path, holder: str) -> str:
    return (
        f"Holdfast is running on {data_dir} already, as process {holder}. "
        "Stop that one first, or choose another --data-dir (and --port)."
    )


OLDEST_POSTGRES = 15
OLDEST_REDIS = 7
CONNECT_SECONDS = 5


def check_database(url: str) -> None:
    """Raises unless a Postgres of a sufficient version answers at `url`."""
    import psycopg

    try:
        with psycopg.connect(plain(url), connect_timeout=CONNECT_SECONDS) as connection:
            version = connection.info.server_version // 10000
    except psycopg.Error as error:
        raise EmbeddedServerError(f"The database at DATABASE_URL does not answer: {error}") from error
    if version < OLDEST_POSTGRES:
        raise EmbeddedServerError(
            f"The database at DATABASE_URL is Postgres {version}; Holdfast needs {OLDEST_POSTGRES} or newer."
        )


def check_cache(url: str) -> None:
    """Raises unless a Redis or Valkey of a sufficient version answers at `url`.

    Valkey reports the Redis version that it is compatible with under the same name.
    """
    import redis

    client = redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS, decode_responses=True
    )
    try:
        version = str(client.info("server")["redis_version"])
    except (redis.RedisError, OSError) as error:
        raise EmbeddedServerError(f"The cache at REDIS_URL does not answer: {error}") from error
    finally:
        client.close()
    if int(version.split(".")[0]) < OLDEST_REDIS:
        raise EmbeddedServerError(
            f"The cache at REDIS_URL is version {version}; Holdfast needs Redis or Valkey {OLDEST_REDIS} or newer."
        )


def plain(url: str) -> str:
    """A database URL without the driver that SQLAlchemy's form may name."""
    scheme, separator, rest = url.partition("://")
    return scheme.split("+")[0] + separator + rest
