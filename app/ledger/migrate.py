"""Migrating: bringing the schema of the ledger up to date, and a quick look whether that is needed.

SQLAlchemy and Alembic take a second to import, and most starts find nothing to migrate. So the quick look uses the
driver alone, and the functions that migrate import their tools when they are called.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from app.domain.payment import DEFAULT_PARTITIONS
from app.ledger.connections import APP_ROLE, CONNECT_TIMEOUT_S, translated

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine


MIGRATIONS = Path(__file__).parent / "migrations"

TABLES = (
    "audit_schema",
    "event_schema",
    "heads_schema",
    "journal_schema",
    "matching_schema",
    "operations_schema",
    "proof_schema",
    "schema",
    "statement_schema",
    "user_schema",
    "webhook_schema",
)
"""The modules of this room that say what tables there are."""

_MIGRATION_LOCK = 4_770_171_193
"""Any number that no other program uses as an advisory lock: two processes must not migrate at once."""


def newest_version() -> str:
    """The version of the schema that this program needs: the number of its last migration."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


_RETENTION = "SELECT coalesce((SELECT days FROM audit_retention ORDER BY number DESC LIMIT 1), 0)"
_USED = "SELECT EXISTS (SELECT FROM api_key) AND EXISTS (SELECT FROM app_user)"


def is_prepared(database_url: str, audit_retention_days: int = 0) -> bool:
    """Whether the schema is at this program's version with a key and a user, and the audit is kept for so many days.

    False where that cannot be told.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True) as connection:
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            retention = connection.execute(_RETENTION).fetchone()
            is_used = connection.execute(_USED).fetchone()
    except psycopg.Error:
        return False
    return version == (newest_version(),) and is_used == (True,) and retention == (audit_retention_days,)


def upgrade(owner_database_url: str, partitions: int = DEFAULT_PARTITIONS) -> None:
    """Create or update the schema; `partitions` counts only for the very first migration."""
    from alembic import command

    from app.ledger.engine import owner_engine

    engine = owner_engine(owner_database_url)
    try:
        with translated(), engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            if _is_current(connection):
                return
            _ensure_app_role(connection)
            config = _config()
            config.attributes.update(connection=connection, partitions=partitions)
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def set_audit_retention(owner_database_url: str, days: int) -> None:
    """Have the audit kept for so many days from now on, 0 for ever; another number than before is recorded."""
    from app.ledger.engine import owner_engine

    engine = owner_engine(owner_database_url)
    try:
        with translated(), engine.begin() as connection:
            connection.exec_driver_sql("SELECT audit_set_retention(%s)", (days,))
    finally:
        engine.dispose()


def is_current(engine: Engine) -> bool:
    """Whether the schema is at the version that this program needs."""
    with translated(), engine.connect() as connection:
        return _is_current(connection)


def _is_current(connection: Connection) -> bool:
    present = connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NOT NULL").scalar_one()
    if not present:
        return False
    current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return current == newest_version()


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _ensure_app_role(connection: Connection) -> None:
    exists = connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (APP_ROLE,)).scalar()
    if not exists:
        connection.exec_driver_sql(f"CREATE ROLE {APP_ROLE} NOLOGIN")
    member = connection.exec_driver_sql("SELECT pg_has_role(current_user, %s, 'MEMBER')", (APP_ROLE,))
    if not member.scalar_one():
        connection.exec_driver_sql(f"GRANT {APP_ROLE} TO current_user")


def metadata_differences(owner_database_url: str) -> list[object]:
    """What differs between `schema.py` and the migrated database; empty when they agree.

    Comments are not compared: they are written in SQL only, beside what they explain.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from app.ledger.engine import owner_engine
    from app.ledger.schema import metadata

    for module in TABLES:
        import_module(f"app.ledger.{module}")

    engine = owner_engine(owner_database_url)
    try:
        with engine.connect() as connection:
            found = compare_metadata(MigrationContext.configure(connection), metadata)
    finally:
        engine.dispose()
    operations = [one[0] if isinstance(one, list) else one for one in found]
    return [operation for operation in operations if "comment" not in operation[0]]
