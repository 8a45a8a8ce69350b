"""Running sums of what payments have given back."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the sums, and fill them from the refunds that the ledger has."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0007_payment_returns.sql").read_text())


def downgrade() -> None:
    """Refuse: the ledger is not deleted by a tool."""
    raise NotImplementedError("the ledger is never dropped by a migration")
