"""Calls to the cache: scripts and commands in one round trip, and the client's errors as the project's faults."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis
from redis.exceptions import NoScriptError

from app.domain.faults import CacheUnavailable, OutcomeUnknown
from app.domain.partitions import partition_of
from app.funds.connection import CacheUnreachable, RoundTrips, refused_before_running
from app.funds.scripts import Script

Command = tuple[Any, ...]

Call = tuple[Script, list[str], list[Any]]
"""A script, its keys and its arguments."""


class Calls:
    """One Redis (or Valkey) client, and what all that is said to it has in common."""

    def __init__(self, client: redis.Redis, *, partitions: int, window_ms: int, backlog_limit: int) -> None:
        """`window_ms` is how long an external id is remembered; a partition has at most `backlog_limit` intents."""
        self._client = client
        self._round_trips = RoundTrips(client.connection_pool)
        self.partitions = partitions
        self.window_ms = window_ms
        self.backlog_limit = backlog_limit

    def partition_of(self, account_id: str) -> int:
        """The partition that holds this account."""
        return partition_of(account_id, self.partitions)

    def _run(self, calls: Sequence[Call], after: Sequence[Command] = ()) -> list[Any]:
        """Run scripts in one round trip, after some plain commands; a server that lost the scripts gets them again."""
        with self._guarded():
            replies = self._round_trips.make([*after, *[script.command(*rest) for script, *rest in calls]])
            failed = [index for index, reply in enumerate(replies) if isinstance(reply, redis.RedisError)]
            for index in failed:
                if isinstance(replies[index], NoScriptError):
                    replies[index] = self._run_anew(*calls[index - len(after)])
            errors = [replies[index] for index in failed if isinstance(replies[index], redis.RedisError)]
            if errors and len(errors) < len(replies) and refused_before_running(errors[0]):
                raise OutcomeUnknown(f"a part of one round trip ran, another did not: {errors[0]}")
            if errors:
                raise errors[0]
        return replies

    def _commands(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that only look, in one round trip."""
        replies = self._round_trips.make(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _run_anew(self, script: Script, names: list[str], args: list[Any]) -> Any:
        _, reply = self._round_trips.make([("SCRIPT", "LOAD", script.source), script.command(names, args)])
        return reply

    def _guarded(self) -> AbstractContextManager[None]:
        """Raise the project's faults in place of the client's errors."""
        return _TRANSLATION


class _Translation(AbstractContextManager[None]):
    """Turns the client's errors into the project's faults. A class: it stands around every call, and a generator costs
    four times as much."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, CacheUnreachable):
            raise CacheUnavailable(str(error)) from error
        if isinstance(error, redis.RedisError):
            if refused_before_running(error):
                raise CacheUnavailable(str(error)) from error
            if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
                raise OutcomeUnknown(str(error)) from error


_TRANSLATION = _Translation()
