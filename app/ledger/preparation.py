"""Whether a database needs anything before the system can use it: a quick look, with the driver alone.

The tools that migrate take a second to import, and a later start finds nothing to migrate.
"""

from pathlib import Path

import psycopg

from app.ledger.connections import CONNECT_TIMEOUT_S

MIGRATIONS = Path(__file__).parent / "migrations"


def newest_version() -> str:
    """The version of the schema that this program needs: the number of its last migration."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def is_prepared(database_url: str) -> bool:
    """Whether the schema is at this program's version and there is an API key; False where that cannot be told."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True) as connection:
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            has_key = connection.execute("SELECT EXISTS (SELECT FROM api_key)").fetchone()
    except psycopg.Error:
        return False
    return version == (newest_version(),) and has_key == (True,)
