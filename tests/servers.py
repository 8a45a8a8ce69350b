"""Real servers for the tests: one scratch Postgres and Valkey, with the settings of the embedded ones."""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.servers import EmbeddedServers, ServerUrls


@contextmanager
def embedded_servers(data_dir: Path) -> Iterator[ServerUrls]:
    """Runs both servers over `data_dir`, with fsync on as in earnest and the schema migrated."""
    with EmbeddedServers(data_dir) as servers:
        migrate(servers.owner_database_url)
        yield servers.urls


def migrate(owner_database_url: str) -> None:
    """Brings the schema up to date."""
    if importlib.util.find_spec("app.ledger.migrate") is not None:
        importlib.import_module("app.ledger.migrate").upgrade(owner_database_url)
