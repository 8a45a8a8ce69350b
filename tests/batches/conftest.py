"""A world of its own for each test, as the tests of the API have it."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import fresh_world
from tests.batches.world import BatchWorld
from tests.databases import Databases


@pytest.fixture
def world(databases: Databases) -> Iterator[BatchWorld]:
    """A world of this test's own."""
    with fresh_world(databases, BatchWorld) as world:
        yield world
