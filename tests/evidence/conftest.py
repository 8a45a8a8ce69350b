"""A world with a ledger to audit, and an auditor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import fresh_world
from tests.databases import Databases
from tests.evidence.world import Auditor, EvidenceWorld


@pytest.fixture
def world(databases: Databases) -> Iterator[EvidenceWorld]:
    """A world of this test's own."""
    with fresh_world(databases, EvidenceWorld) as world:
        yield world


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    """Somebody with a directory of their own."""
    directory = tmp_path / "auditor"
    directory.mkdir()
    return Auditor(directory)
