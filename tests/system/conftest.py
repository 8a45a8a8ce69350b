"""One running system for the whole session; the tests keep apart by the names of their accounts."""

from collections.abc import Iterator

import pytest

from tests.system.harness import BANK, Client, System


@pytest.fixture(scope="session")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Started once."""
    system = System(tmp_path_factory.mktemp("system"))
    try:
        yield system.start()
    finally:
        system.stop()


@pytest.fixture
def system(running_system: System) -> System:
    """The running system, ready, with the bank's account."""
    client = running_system.client()
    client.account(BANK, "asset")
    client.close()
    return running_system


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    """One connection to it."""
    client = system.client()
    yield client
    client.close()
