"""Matching: lines of statements and entries of the ledger, and what has no counterpart."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0015_matching.sql").read_text())


def downgrade() -> None:
    """Refuse: what people have decided is not deleted by a tool."""
    raise NotImplementedError("matches are never dropped by a migration")
