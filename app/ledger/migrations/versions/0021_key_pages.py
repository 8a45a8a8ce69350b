"""Keys administered by people: the ledger itself checks a proof that only the person's password makes."""

from pathlib import Path

from alembic import op

revision = "0021"
down_revision = "0020"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the column and the functions; no row changes."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0021_key_pages.sql").read_text())


def downgrade() -> None:
    """Refuse: keys that people have made name them in the record."""
    raise NotImplementedError("the proofs of people are never dropped by a migration")
