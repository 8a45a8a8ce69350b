"""Connects a command to the system: to the servers that the environment names, or to those of a data directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.attach import attached
from app.settings import Settings, settings_from


@contextmanager
def connected(data_dir: Path) -> Iterator[Settings]:
    """Settings that name the servers to work on; if none run, embedded ones run for as long as the command."""
    with attached(data_dir) as urls:
        environment = {
            **os.environ,
            "DATABASE_URL": urls.database_url,
            "HOLDFAST_OWNER_DATABASE_URL": urls.owner_database_url,
            "REDIS_URL": urls.redis_url,
            "HOLDFAST_DATA_DIR": str(data_dir),
        }
        yield settings_from(environment)
