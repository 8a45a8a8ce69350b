"""An application of its own for each test, and what the audit has of it."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import fresh_world
from tests.audit.world import AuditWorld
from tests.databases import Databases


@pytest.fixture
def world(databases: Databases) -> Iterator[AuditWorld]:
    with fresh_world(databases, AuditWorld) as world:
        yield world
