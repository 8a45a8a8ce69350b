"""The client of the cache: connections with deadlines, round trips of several commands, and errors as faults."""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.connection
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from app.cache.keys import Script
from app.cache.server_states import (
    PROBE,
    RESERVE_PERCENT,
    CacheUnreachable,
    ServerWatch,
    refused_before_running,
    state_of,
)
from app.domain.errors import OutcomeUnknown
from app.domain.payment import partition_of

CONNECT_DEADLINE_S = 0.5
BLOCKING_DEADLINE_S = 30.0
"""For the clients that block on purpose: the subscriber and RQ."""

KEEPALIVE_S = 5
"""How long a connection is silent before the operating system asks whether the other side is still there."""

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


class _TellsUnreachable(redis.connection.AbstractConnection):
    """A connection that tells a failure to connect from a failure to answer, and reads several replies at once.

    If a reply says that it leads to the wrong server, it connects again before its next use: the name may have got
    another address.
    """

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect, or raise CacheUnreachable."""
        try:
            super().connect(*args, **kwargs)  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise CacheUnreachable(str(error)) from error

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read one reply; an error reply is raised."""
        try:
            return super().read_response(*args, **kwargs)
        except redis.ResponseError as error:
            if state_of(error).drops:
                self.mark_for_reconnect()  # type: ignore[no-untyped-call]
            raise

    def read_replies(self, count: int) -> list[Any]:
        """Read `count` replies; an error reply is returned as an exception, not raised.

        This calls the parser directly; what `read_response` does around it, for each reply, costs as much again.
        """
        read = self._parser.read_response
        try:
            return [read() for _ in range(count)]
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading: {error}") from error


class _PlainConnection(_TellsUnreachable, redis.Connection):
    pass


class _TlsConnection(_TellsUnreachable, redis.SSLConnection):
    pass


class _UnixConnection(_TellsUnreachable, redis.UnixDomainSocketConnection):
    pass


# Chosen here, because a connection class given to a pool replaces the one that the URL implies.
_CONNECTIONS = {"redis": _PlainConnection, "rediss": _TlsConnection, "unix": _UnixConnection}


def request_client(
    redis_url: str, deadline_s: float, *, name: str = "holdfast", decode_responses: bool = True
) -> redis.Redis:
    """A client for the request path. It waits for an answer until the deadline, and half of it for a connection.

    It does not retry: that is the caller's decision. `name` is what the server's list of clients shows.
    """
    scheme = urlsplit(redis_url).scheme
    pool = redis.ConnectionPool.from_url(
        redis_url,
        connection_class=_CONNECTIONS[scheme],
        decode_responses=decode_responses,
        protocol=2,
        client_name=name,
        socket_timeout=deadline_s,
        socket_connect_timeout=deadline_s / 2,
        retry=Retry(NoBackoff(), 0),
        **_keepalive(scheme),
    )
    return redis.Redis(connection_pool=pool)


def _keepalive(scheme: str) -> dict[str, Any]:
    """Options with which the operating system notices a server that is gone without a word."""
    return {} if scheme == "unix" else {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}


class RoundTrips:
    """Round trips of several commands, on connections that it keeps.

    It does what a pipeline does at less than half the cost: it does not watch, retry or convert replies.
    """

    def __init__(self, pool: redis.ConnectionPool, greet: Callable[[Any], None]) -> None:
        """`greet` is called with each connection that was opened, before anything is sent on it."""
        self._pool = pool
        self._greet = greet
        self._idle: deque[Any] = deque()

    def make(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands together and read their replies; an error reply is returned as an exception, not raised.

        Any other error is raised, and closes the connection: an answer may still be on its way.
        """
        connection = self._connection()
        try:
            connection.send_packed_command([b"".join(map(pack_command, commands))])
            replies: list[Any] = connection.read_replies(len(commands))
            if any(isinstance(reply, Exception) and state_of(reply).drops for reply in replies):
                connection.disconnect()
            return replies
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._idle.append(connection)

    def _connection(self) -> Any:
        """A connection that is open and has nothing to read."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
            self._open(connection)
            return connection
        if not _is_clean(connection):
            connection.disconnect()
            self._open(connection)
        return connection

    def _open(self, connection: Any) -> None:
        try:
            connection.connect()
            self._greet(connection)
        except BaseException:
            connection.disconnect()
            self._idle.append(connection)
            raise


def _is_clean(connection: Any) -> bool:
    """Whether a command can be sent: the server may have closed the connection since it was last used."""
    try:
        return connection.is_connected and not connection.can_read()
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return False


def blocking_client(redis_url: str, *, decode_responses: bool, name: str = "holdfast") -> redis.Redis:
    """A client for subscribers and RQ, which block on purpose."""
    return redis.Redis.from_url(
        redis_url,
        decode_responses=decode_responses,
        client_name=name,
        socket_timeout=BLOCKING_DEADLINE_S,
        socket_connect_timeout=CONNECT_DEADLINE_S,
        **_keepalive(urlsplit(redis_url).scheme),
    )


def durability_of(client: redis.Redis) -> tuple[str, str]:
    """What an acknowledgement by this server survives, and the server's eviction policy.

    The first is `always` (on disk), `everysec` (may lose a second), `no` (memory only) or `unknown`.
    """
    try:
        config: dict[Any, Any] = {}
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            config.update(client.config_get(name))
    except redis.ResponseError:
        return "unknown", "unknown"  # managed servers forbid CONFIG
    fsync = config.get("appendfsync", "no") if config.get("appendonly") == "yes" else "no"
    return fsync, config.get("maxmemory-policy", "unknown")


Command = tuple[Any, ...]

Call = tuple[Script, list[str], list[Any]]
"""A script, its keys and its arguments."""


class CacheClient:
    """One Redis (or Valkey) client, with the settings and the error handling of all calls."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        partitions: int,
        window_ms: int,
        backlog_limit: int,
        reserve_percent: int = RESERVE_PERCENT,
    ) -> None:
        """`window_ms` is how long an external id is remembered; a partition has at most `backlog_limit` intents.

        `reserve_percent` of the server's memory limit are kept free of new payments.
        """
        self.redis = client
        self._round_trips = RoundTrips(client.connection_pool, self._greet)
        self._meet: Callable[[str], None] | None = None
        self.watch = ServerWatch(reserve_percent)
        self.partitions = partitions
        self.window_ms = window_ms
        self.backlog_limit = backlog_limit

    def on_connect(self, meet: Callable[[str], None]) -> None:
        """Have `meet` called for each connection that opens, before it is used, with what tells the server from others.

        It is another text after a restart and after the promotion of a replica. If `meet` raises, nothing is sent.
        """
        self._meet = meet

    def _greet(self, connection: Any) -> None:
        if self._meet is None:
            return
        connection.send_command("INFO", "server", "replication")
        try:
            info = connection.read_response()
        except redis.ResponseError:
            info = ""  # managed servers may forbid INFO; then only the look each second remains
        self._meet(_server_in(info))

    def partition_of(self, account_id: str) -> int:
        """The partition of this account."""
        return partition_of(account_id, self.partitions)

    def run(self, calls: Sequence[Call], after: Sequence[Command] = ()) -> list[Any]:
        """Run scripts in one round trip, after some plain commands; a server that lost a script gets it again."""
        with self.translated():
            replies = self._make([*after, *[script.command(*rest) for script, *rest in calls]])
            failed = [index for index, reply in enumerate(replies) if isinstance(reply, redis.RedisError)]
            for index in failed:
                if isinstance(replies[index], NoScriptError):
                    replies[index] = self._load_and_run(*calls[index - len(after)])
            errors = [replies[index] for index in failed if isinstance(replies[index], redis.RedisError)]
            if errors and len(errors) < len(replies) and refused_before_running(errors[0]):
                raise OutcomeUnknown(f"one part of a round trip ran, another did not: {errors[0]}")
            if errors:
                raise errors[0]
        return replies

    def _make(self, commands: list[Command]) -> list[Any]:
        """One round trip; once a second it also asks the server how it is."""
        if not self.watch.begin():
            return self._round_trips.make(commands)
        replies = self._round_trips.make([*commands, *PROBE])
        self.watch.note(replies[len(commands) :])
        return replies[: len(commands)]

    def require_fit(self) -> None:
        """Raise CacheFull or ClocksDisagree if the server is not fit for new payments."""
        if self.watch.blocks:
            with self.translated():
                self._make([])
            self.watch.require_fit()

    def look(self, commands: Sequence[Command], *, tolerated: str | None = None) -> list[Any]:
        """Run commands that only read, in one round trip. An error with `tolerated` is returned, not raised."""
        replies = self._round_trips.make(commands)
        for reply in replies:
            if isinstance(reply, Exception) and not (tolerated and tolerated in str(reply)):
                raise reply
        return replies

    def _load_and_run(self, script: Script, names: list[str], args: list[Any]) -> Any:
        _, reply = self._round_trips.make([("SCRIPT", "LOAD", script.source), script.command(names, args)])
        return reply

    def translated(self) -> AbstractContextManager[None]:
        """Raise the project's faults in place of the client's errors."""
        return _TRANSLATION


def _server_in(info: str) -> str:
    """The run id and the replication id of a server, from its INFO."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return f"{fields.get('run_id', '')}/{fields.get('master_replid', '')}"


class _Translation(AbstractContextManager[None]):
    """Turns the client's errors into the project's faults. It is a class because it wraps every call, and a generator
    costs four times as much."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, redis.RedisError):
            fault = state_of(error).fault
            if fault is not None:
                raise fault(str(error)) from error


_TRANSLATION = _Translation()
