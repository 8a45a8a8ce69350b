"""Users of the pages, their sessions, and the indexes by which the pages list accounts."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the tables and indexes; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0012_users.sql").read_text())


def downgrade() -> None:
    """Refuse: users are part of the record of who did what."""
    raise NotImplementedError("users are never dropped by a migration")
