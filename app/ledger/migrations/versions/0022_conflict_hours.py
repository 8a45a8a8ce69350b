"""Conflicts by account and hour, for the heat map of hot accounts."""

from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the table; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0022_conflict_hours.sql").read_text())


def downgrade() -> None:
    """Drop the table: it holds counters, which are no record."""
    op.execute("DROP TABLE conflict_hour")
