"""A world of its own for each test, as the tests of the API have it."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import fresh_world
from tests.databases import Databases
from tests.journals.world import JournalWorld


@pytest.fixture
def world(databases: Databases) -> Iterator[JournalWorld]:
    """A world of this test's own."""
    with fresh_world(databases) as world:
        yield JournalWorld(world.settings)
