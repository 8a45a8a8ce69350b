"""A world of its own for each test, or one for a module where tests only read or are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from tests.api.world import CACHE_DATABASE, World
from tests.databases import Databases, with_database
from tests.installation import settings_for

W = TypeVar("W", bound=World)


@contextmanager
def fresh_world(databases: Databases, kind: type[W]) -> Iterator[W]:
    """A world on a database of its own and a flushed cache."""
    with databases.lent() as urls:
        urls = replace(urls, redis_url=with_database(urls.redis_url, CACHE_DATABASE))
        world = kind(settings_for(urls))
        world.cache.flushdb()
        yield world


@pytest.fixture
def world(databases: Databases) -> Iterator[World]:
    """A world of this test's own."""
    with fresh_world(databases, World) as world:
        yield world


@pytest.fixture(scope="module")
def shared_world(databases: Databases) -> Iterator[World]:
    """One world for all tests of a module that take it. The cache is one too: do not mix it with `world`."""
    with fresh_world(databases, World) as world:
        yield world
