"""Unfinished changes: what a killed process leaves of a change of an account can be found and mended."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Create the list."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0004_unfinished_changes.sql").read_text())


def downgrade() -> None:
    """Refuse: books are not deleted by a tool."""
    raise NotImplementedError("the books are never dropped by a migration")
