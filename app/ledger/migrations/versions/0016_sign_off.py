"""Sign-off: what a controller has signed of a statement account, frozen and chained."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the table and the guards; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0016_sign_off.sql").read_text())


def downgrade() -> None:
    """Refuse: what was signed stays signed."""
    raise NotImplementedError("sign-offs are never dropped by a migration")
