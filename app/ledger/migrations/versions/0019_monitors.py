"""Balance monitors: conditions on accounts, and their crossings."""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0018"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0019_monitors.sql").read_text())


def downgrade() -> None:
    """Refuse: a crossing stays on record."""
    raise NotImplementedError("monitors are never dropped by a migration")
