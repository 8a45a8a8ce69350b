"""Journals that wait for a second person, and templates of journals."""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision = "0019"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the tables; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0020_journal_approval.sql").read_text())


def downgrade() -> None:
    """Refuse: who approved what is part of the record."""
    raise NotImplementedError("proposed journals are never dropped by a migration")
