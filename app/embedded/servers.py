"""Both embedded servers as one: a real Postgres and a real Valkey that live and die with this process.

A server that ends is started again for as long as that takes. A full disk, a missing file, a port that somebody took:
whatever prevents a start may pass. So every failure is told in one line and tried again after a growing pause. No step
waits until the server is ready, so the other processes are looked after meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded import postgres as postgres_server
from app.embedded import run_as as identity
from app.embedded import valkey
from app.embedded.child_process import EmbeddedServerError
from app.embedded.postgres import PostgresServer
from app.embedded.private_files import load_or_create_credentials, require_private
from app.embedded.run_as import Installation
from app.embedded.valkey import CacheServer

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0


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
        passwords = load_or_create_credentials(self._data_dir / "secrets.json")
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
        back = [revival.name for revival in self._revivals if revival.step(say)]
        if "cache" in back and self.cache.treatment:
            say(self.cache.treatment)
        return back

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


class Revival:
    """One server, and what has been done to bring it back."""

    def __init__(self, name: str, server: CacheServer | PostgresServer, ready_seconds: float) -> None:
        """`ready_seconds` is how long a start may take before it counts as failed."""
        self.name = name
        self._server = server
        self._ready_seconds = ready_seconds
        self._failures = 0
        self._due_at = 0.0
        self._ready_by: float | None = None  # while it starts

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        return self._server.pid

    def step(self, say: Callable[[str], None]) -> bool:
        """Does what is due now and returns at once; True when the server has just come back. Raises nothing."""
        now = time.monotonic()
        try:
            if self._ready_by is not None:
                return self._came_back(now)
            if self._server.pid is None and now >= self._due_at:
                self._start(now, say)
        except Exception as error:  # whatever it was may pass, and nothing here may end the system
            self._postpone(now, error, say)
        return False

    def _start(self, now: float, say: Callable[[str], None]) -> None:
        if not self._failures:
            say(f"{self.name} ended by itself; starting it again")
        self._server.stop()
        self._server.begin()
        self._ready_by = now + self._ready_seconds

    def _came_back(self, now: float) -> bool:
        if self._server.pid is None:
            raise EmbeddedServerError(self._server.failure("ended during its start"))
        if self._server.is_ready():
            self._failures, self._ready_by = 0, None
            return True
        if self._ready_by is not None and now > self._ready_by:
            raise EmbeddedServerError(self._server.failure(f"was not ready within {self._ready_seconds:.0f} seconds"))
        return False

    def _postpone(self, now: float, error: Exception, say: Callable[[str], None]) -> None:
        self._ready_by = None
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 30)
        self._due_at = now + pause
        say(f"{self.name} could not be started again, next try in {pause:.2g} s: {in_one_line(error)}")


def in_one_line(error: Exception) -> str:
    """An error's first line, and its last where that is the end of a log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
