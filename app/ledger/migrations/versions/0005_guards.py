"""Guards: what the app's own role writes must fit together when it commits, and it makes no API keys."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the guards; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0005_guards.sql").read_text())


def downgrade() -> None:
    """Refuse: a guard is not taken away by a tool."""
    raise NotImplementedError("the guards of the ledger are never dropped by a migration")
