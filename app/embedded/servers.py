"""Both embedded servers as one: a real Postgres and a real Valkey that live and die with this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded import credentials, valkey
from app.embedded import postgres as postgres_server
from app.embedded import run_as as identity
from app.embedded.child_process import EmbeddedServerError
from app.embedded.postgres import PostgresServer
from app.embedded.private_files import require_private
from app.embedded.revival import Revival
from app.embedded.run_as import Installation
from app.embedded.valkey import CacheServer


@dataclass(frozen=True)
class ServerUrls:
    """Where the database and the cache are. The owner's URL may change the schema, the other may not."""

    owner_database_url: str
    database_url: str
    redis_url: str


class EmbeddedServers:
    """Starts what is asked for in parallel, and stops it in order: the cache first, then the ledger.

    `begin` spawns and returns at once when the data is there already; `finish` waits until both are ready.
    The URLs are known in between. As a context manager it does both. Start it from the main thread.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        cache: bool = True,
        damaged_cache: str | None = None,
        choose: Callable[[Path, Path], Installation] = identity.choose,
    ) -> None:
        """Prepares `data_dir`; nothing starts here. `damaged_cache`: see `CacheServer`."""
        self._data_dir = prepare_directory(data_dir)
        passwords = credentials.load_or_create(self._data_dir / "secrets.json")
        self._postgres = PostgresServer(self._data_dir, passwords, choose=choose) if postgres else None
        password = passwords.cache_password
        self._cache = CacheServer(self._data_dir, password, damaged_cache=damaged_cache) if cache else None
        self._revivals = [Revival("cache", self._cache, valkey.READY_SECONDS)] if self._cache else []
        self._revivals += [Revival("Postgres", self._postgres, postgres_server.READY_SECONDS)] if self._postgres else []

    @property
    def postgres(self) -> PostgresServer:
        """The database server; an error when it was not asked for."""
        assert self._postgres is not None, "started without Postgres"
        return self._postgres

    @property
    def cache(self) -> CacheServer:
        """The cache server; an error when it was not asked for."""
        assert self._cache is not None, "started without a cache"
        return self._cache

    @property
    def owner_database_url(self) -> str:
        """For migrations."""
        return self.postgres.owner_url

    @property
    def database_url(self) -> str:
        """For the application."""
        return self.postgres.app_url

    @property
    def redis_url(self) -> str:
        """For the application."""
        return self.cache.url

    @property
    def creates_database(self) -> bool:
        """Whether a start creates the database cluster first."""
        return self._postgres is not None and self._postgres.is_new

    @property
    def urls(self) -> ServerUrls:
        """All three, when both servers run."""
        return ServerUrls(self.owner_database_url, self.database_url, self.redis_url)

    @property
    def processes(self) -> dict[str, int]:
        """The process ids of the servers that run, by name."""
        return {one.name: one.pid for one in self._revivals if one.pid is not None}

    def begin(self) -> None:
        """Spawns the servers. A cluster that does not exist yet is created first: a second or two."""
        try:
            for server in self._all():
                server.begin()
        except BaseException:
            self.stop()
            raise

    def finish_cache(self) -> None:
        """Waits until the cache answers, which takes milliseconds unless it has much to load."""
        if self._cache is not None:
            self._cache.finish()

    def finish(self) -> None:
        """Waits until the servers answer."""
        try:
            for server in self._all():
                server.finish()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops whatever runs."""
        for server in self._all():
            server.stop()

    def revive(self, say: Callable[[str], None] = print) -> list[str]:
        """One round of starting again, at the same ports, what ended by itself; returns the names of what came back.

        It waits for no server and raises nothing: failures are told to `say`, and tried again in later rounds.
        """
        return [revival.name for revival in self._revivals if revival.step(say)]

    def __enter__(self) -> Self:
        """Starts and waits."""
        self.begin()
        self.finish()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()

    def _all(self) -> list[CacheServer | PostgresServer]:
        return [server for server in (self._cache, self._postgres) if server is not None]


def prepare_directory(data_dir: Path) -> Path:
    """Makes the data directory, for its owner only, or checks that it is; returns its absolute path."""
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(data_dir)
        (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedServerError(f"The data directory {data_dir} cannot be used: {error}.") from error
    return data_dir
