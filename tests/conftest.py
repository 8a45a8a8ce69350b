"""Fixtures that every test may use."""

from collections.abc import Iterator

import pytest

from app.embedded.servers import ServerUrls
from tests.servers import embedded_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUrls]:
    """One real Postgres and one real Valkey for the whole session, migrated."""
    with embedded_servers(tmp_path_factory.mktemp("servers")) as urls:
        yield urls
