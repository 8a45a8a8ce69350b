"""The cache's identity: what the ledger has seen of the cache, so that an older copy or an empty one is noticed."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the table."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0006_cache_identity.sql").read_text())


def downgrade() -> None:
    """Refuse: a ledger is not deleted by a tool."""
    raise NotImplementedError("the ledger is never dropped by a migration")
