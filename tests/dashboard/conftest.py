"""A world with people for each test, or one for a module whose tests only read."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import fresh_world
from tests.dashboard.world import Browser, World
from tests.databases import Databases


@pytest.fixture
def world(databases: Databases) -> Iterator[World]:
    """A world of this test's own."""
    with fresh_world(databases, World) as world:
        yield world


@pytest.fixture(scope="module")
def shared_world(databases: Databases) -> Iterator[World]:
    """One world for all tests of a module that take it. Do not mix it with `world`."""
    with fresh_world(databases, World) as world:
        yield world


@pytest.fixture(scope="module")
def viewer(world: World) -> Browser:
    """A browser in which a viewer is signed in: for modules whose tests read one world."""
    return world.signed_in()
