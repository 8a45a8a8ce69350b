"""Events: the order in which what the ledger holds is told."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; the feed begins after what the ledger has by now."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0017_events.sql").read_text())


def downgrade() -> None:
    """Refuse: a cursor that somebody keeps must stay valid."""
    raise NotImplementedError("the order of events is never dropped by a migration")
