"""A world of its own for each test, or one for a module where tests only read or are refused."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.embedded.servers import ServerUrls
from app.settings import Settings
from tests.api.world import CACHE_DATABASE, World, copied_database, database_named, make_template


@pytest.fixture(scope="session")
def template(servers: ServerUrls) -> ServerUrls:
    """The servers, with a migrated database to copy from."""
    make_template(servers.owner_database_url)
    return servers


@contextmanager
def fresh_world(servers: ServerUrls) -> Iterator[World]:
    """A world on a copy of the template and a flushed cache."""
    with copied_database(servers.owner_database_url) as name:
        settings = Settings(
            database_url=database_named(servers.database_url, name),
            owner_database_url=database_named(servers.owner_database_url, name),
            redis_url=servers.redis_url.rpartition("/")[0] + f"/{CACHE_DATABASE}",
            queue_url=servers.redis_url.rpartition("/")[0] + f"/{CACHE_DATABASE}",
        )
        world = World(settings)
        world.cache.flushdb()
        yield world


@pytest.fixture
def world(template: ServerUrls) -> Iterator[World]:
    """A world of this test's own."""
    with fresh_world(template) as world:
        yield world


@pytest.fixture(scope="module")
def shared_world(template: ServerUrls) -> Iterator[World]:
    """One world for all tests of a module that take it. The cache is one too: do not mix it with `world`."""
    with fresh_world(template) as world:
        yield world
