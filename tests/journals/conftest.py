"""A world of its own for each test, as the tests of the API have it."""

from collections.abc import Iterator

import pytest

from app.ledger import journal_sessions
from tests.api.conftest import fresh_world
from tests.databases import Databases
from tests.journals.world import JournalWorld
from tests.patience import PATIENCE_S


@pytest.fixture
def world(databases: Databases) -> Iterator[JournalWorld]:
    """A world of this test's own."""
    with fresh_world(databases, JournalWorld) as world:
        yield world


@pytest.fixture
def patient_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever queues up for a lock waits as long as a busy machine needs."""
    monkeypatch.setattr(journal_sessions, "LONGEST_WAIT_S", PATIENCE_S)
