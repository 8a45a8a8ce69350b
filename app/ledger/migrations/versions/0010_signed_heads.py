"""Signed heads: the ledger's own id, the keys that sign, the heads, and the kept nodes of the Merkle trees."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the tables. The trees of what is posted already are built by the maintenance worker, bit by bit."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0010_signed_heads.sql").read_text())


def downgrade() -> None:
    """Refuse: a ledger is not deleted by a tool."""
    raise NotImplementedError("the ledger is never dropped by a migration")
