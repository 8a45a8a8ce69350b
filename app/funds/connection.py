"""Clients of the cache: with deadlines, and able to tell "never sent" from "no answer"."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

DEADLINE_S = 1.0
"""Longest wait for an answer on the request path; after it the outcome is unknown, and the client says so."""

CONNECT_DEADLINE_S = 0.5
BLOCKING_DEADLINE_S = 30.0
"""For clients that wait on purpose: the subscriber and RQ."""


class CacheUnreachable(redis.ConnectionError):
    """No connection could be made, so nothing was sent."""


class DeadlineConnection(redis.Connection):
    """A connection whose failure to connect can be told from a failure to answer."""

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect, or raise CacheUnreachable."""
        try:
            super().connect(*args, **kwargs)  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise CacheUnreachable(str(error)) from error


def request_client(redis_url: str) -> redis.Redis:
    """A client for the request path. It does not retry by itself: a retry is the caller's decision."""
    pool = redis.ConnectionPool.from_url(
        redis_url,
        connection_class=DeadlineConnection,
        decode_responses=True,
        protocol=2,
        socket_timeout=DEADLINE_S,
        socket_connect_timeout=CONNECT_DEADLINE_S,
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis(connection_pool=pool)


def blocking_client(redis_url: str, *, decode_responses: bool) -> redis.Redis:
    """A client for subscribers and for RQ, which wait for their answers on purpose."""
    return redis.Redis.from_url(
        redis_url,
        decode_responses=decode_responses,
        socket_timeout=BLOCKING_DEADLINE_S,
        socket_connect_timeout=CONNECT_DEADLINE_S,
    )


_NOT_RUN = ("OOM", "READONLY", "MISCONF", "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "NOAUTH", "NOREPLICAS")


def refused_before_running(error: redis.RedisError) -> bool:
    """Whether the server refused a command without running it, for a reason that passes.

    Where redis-py has a class for an error code it cuts the code off the message.
    """
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return code in _NOT_RUN or "max number of clients" in str(error)


def durability_of(client: redis.Redis) -> tuple[str, str]:
    """What an acknowledgement by this server survives, and its eviction policy.

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
