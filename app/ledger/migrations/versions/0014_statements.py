"""Statements: what processors and banks say, line by line."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0014_statements.sql").read_text())


def downgrade() -> None:
    """Refuse: what the outside has said is not deleted by a tool."""
    raise NotImplementedError("statements are never dropped by a migration")
