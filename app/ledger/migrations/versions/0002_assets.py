"""Registered assets: what is counted beside the currencies of ISO 4217."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the register of assets."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0002_assets.sql").read_text())


def downgrade() -> None:
    """Refuse: books are not deleted by a tool."""
    raise NotImplementedError("the books are never dropped by a migration")
