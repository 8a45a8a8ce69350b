"""A world of its own for each test, or one for a module where tests only read or are refused."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.settings import Settings
from tests.api.world import CACHE_DATABASE, World
from tests.databases import Databases, with_database
from tests.patience import CACHE_DEADLINE_S


@contextmanager
def fresh_world(databases: Databases) -> Iterator[World]:
    """A world on a database of its own and a flushed cache."""
    with databases.lent() as urls:
        redis_url = with_database(urls.redis_url, CACHE_DATABASE)
        settings = Settings(
            database_url=urls.database_url,
            owner_database_url=urls.owner_database_url,
            redis_url=redis_url,
            queue_url=redis_url,
            cache_deadline_s=CACHE_DEADLINE_S,
        )
        world = World(settings)
        world.cache.flushdb()
        yield world


@pytest.fixture
def world(databases: Databases) -> Iterator[World]:
    """A world of this test's own."""
    with fresh_world(databases) as world:
        yield world


@pytest.fixture(scope="module")
def shared_world(databases: Databases) -> Iterator[World]:
    """One world for all tests of a module that take it. The cache is one too: do not mix it with `world`."""
    with fresh_world(databases) as world:
        yield world
