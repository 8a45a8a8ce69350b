"""The tests of the cache run on the real server and on the fake that quick tests may use instead."""

from collections.abc import Iterator
from hashlib import sha1
from typing import Any

import fakeredis
import pytest
import redis
from fakeredis import FakeRedisConnection

from app.cache import keys
from app.cache.client import request_client
from tests.cache.world import CacheUnderTest
from tests.patience import CACHE_DEADLINE_S


class _FakeConnection(FakeRedisConnection):
    """The fake, with what `RoundTrips` asks of a connection."""

    def read_replies(self, count: int) -> list[Any]:
        """Read `count` replies; an error is returned in place of its reply."""
        return [self._reply() for _ in range(count)]

    def _reply(self) -> Any:
        try:
            return self.read_response()
        except redis.ResponseError as error:
            return error


@pytest.fixture(params=["real", "fake"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheUnderTest]:
    """An empty, opened cache."""
    if request.param == "fake":
        for script in (keys.SETTLE, keys.HEARTBEAT):
            without_flags = script.source.replace("#!", "-- ", 1)
            monkeypatch.setattr(script, "source", without_flags)  # its Lua does not know the line with the flags
            monkeypatch.setattr(script, "sha", sha1(without_flags.encode()).hexdigest())
        client: Any = fakeredis.FakeRedis(
            decode_responses=True, protocol=2, version=(7,), connection_class=_FakeConnection
        )
    else:
        client = request_client(request.getfixturevalue("empty_cache"), CACHE_DEADLINE_S)
    yield CacheUnderTest(client).opened()
    client.connection_pool.disconnect()


@pytest.fixture
def real_cache(empty_cache: str) -> Iterator[CacheUnderTest]:
    """An empty, opened cache on the real server."""
    client = request_client(empty_cache, CACHE_DEADLINE_S)
    yield CacheUnderTest(client).opened()
    client.connection_pool.disconnect()
