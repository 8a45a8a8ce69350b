"""Webhooks: endpoints, their secrets, what waits for them, and every attempt."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0018_webhooks.sql").read_text())


def downgrade() -> None:
    """Refuse: what was told to others stays on record."""
    raise NotImplementedError("deliveries are never dropped by a migration")
