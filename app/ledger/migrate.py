"""Migrating: bringing the schema of the ledger up to date."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from app.domain.payment import DEFAULT_PARTITIONS
from app.ledger.connections import APP_ROLE, translated
from app.ledger.engine import owner_engine
from app.ledger.preparation import MIGRATIONS, newest_version

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATION_LOCK = 4_770_171_193
"""Any number that no other program uses as an advisory lock: two processes must not migrate at once."""


def upgrade(owner_database_url: str, partitions: int = DEFAULT_PARTITIONS) -> None:
    """Create or update the schema; `partitions` counts only for the very first migration."""
    from alembic import command  # only here: to import it costs an API process a fifth of its start

    engine = owner_engine(owner_database_url)
    try:
        with translated(), engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            if _is_current(connection):
                return
            _ensure_app_role(connection)
            config = _config()
            config.attributes.update(connection=connection, partitions=partitions)
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def is_current(engine: Engine) -> bool:
    """Whether the schema is at the version that this program needs."""
    with translated(), engine.connect() as connection:
        return _is_current(connection)


def _is_current(connection: Connection) -> bool:
    present = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    if not present:
        return False
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return current == newest_version()


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _ensure_app_role(connection: Connection) -> None:
    exists = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": APP_ROLE}).scalar()
    if not exists:
        connection.exec_driver_sql(f"CREATE ROLE {APP_ROLE} NOLOGIN")
    member = connection.execute(text("SELECT pg_has_role(current_user, :role, 'MEMBER')"), {"role": APP_ROLE})
    if not member.scalar_one():
        connection.exec_driver_sql(f"GRANT {APP_ROLE} TO current_user")


def metadata_differences(owner_database_url: str) -> list[object]:
    """What differs between `schema.py` and the migrated database; empty when they agree.

    Comments are not compared: they are written in SQL only, beside what they explain.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from app.ledger.schema import metadata

    engine = owner_engine(owner_database_url)
    try:
        with engine.connect() as connection:
            found = compare_metadata(MigrationContext.configure(connection), metadata)
    finally:
        engine.dispose()
    operations = [one[0] if isinstance(one, list) else one for one in found]
    return [operation for operation in operations if "comment" not in operation[0]]
