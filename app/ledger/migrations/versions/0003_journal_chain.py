"""The chain of journals, reversals and refunds: a partition behind those of the payments, for no drain to wait for."""

from alembic import op
from sqlalchemy import text

from app.domain.hash_chain import GENESIS_HASH

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Begin the chain; its number is the number of partitions."""
    connection = op.get_bind()
    connection.execute(
        text(
            "INSERT INTO partition (partition, chain_hash)"
            " SELECT value, :genesis FROM ledger_setting WHERE name = 'partitions'"
        ),
        {"genesis": GENESIS_HASH},
    )
    connection.execute(
        text("INSERT INTO reconciliation_cursor (partition) SELECT value FROM ledger_setting WHERE name = 'partitions'")
    )


def downgrade() -> None:
    """Refuse: books are not deleted by a tool."""
    raise NotImplementedError("the books are never dropped by a migration")
