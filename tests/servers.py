"""Real servers for the tests: one scratch Postgres and Valkey, with the settings of the embedded ones."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded import postgres
from app.embedded import valkey as cache
from app.embedded.servers import EmbeddedServers, ServerUrls

POSTGRES_PROGRAMS = "HOLDFAST_TEST_POSTGRES"
"""The directory of another Postgres' programs, to run the tests over it."""

CACHE_PROGRAM = "HOLDFAST_TEST_CACHE"
"""The program of another Valkey or Redis, to run the tests over it."""


@contextmanager
def embedded_servers(data_dir: Path) -> Iterator[ServerUrls]:
    """Runs both servers over `data_dir`, with fsync on as in earnest and the schema migrated."""
    with pytest.MonkeyPatch.context() as patch:
        if POSTGRES_PROGRAMS in os.environ:
            patch.setattr(postgres, "programs", lambda: Path(os.environ[POSTGRES_PROGRAMS]))
        if CACHE_PROGRAM in os.environ:
            patch.setattr(cache, "binary", lambda: Path(os.environ[CACHE_PROGRAM]))
        with EmbeddedServers(data_dir) as servers:
            migrate(servers.owner_database_url)
            yield servers.urls


def migrate(owner_database_url: str) -> None:
    """Brings the schema up to date."""
    if importlib.util.find_spec("app.ledger.migrate") is not None:
        importlib.import_module("app.ledger.migrate").upgrade(owner_database_url)
