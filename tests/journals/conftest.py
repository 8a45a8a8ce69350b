"""A world of its own for each test, as the tests of the API have it."""

from collections.abc import Iterator

import pytest

from app.embedded.servers import ServerUrls
from tests.api.conftest import fresh_world, template  # noqa: F401 - a fixture
from tests.journals.world import JournalWorld


@pytest.fixture
def world(template: ServerUrls) -> Iterator[JournalWorld]:  # noqa: F811
    """A world of this test's own."""
    with fresh_world(template) as world:
        yield JournalWorld(world.settings)
