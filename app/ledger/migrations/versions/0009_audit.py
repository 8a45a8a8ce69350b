"""The audit: a record of every call and of every change, by month."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the table, the first months and the retention."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0009_audit.sql").read_text())


def downgrade() -> None:
    """Refuse: the ledger is not deleted by a tool."""
    raise NotImplementedError("the ledger is never dropped by a migration")
