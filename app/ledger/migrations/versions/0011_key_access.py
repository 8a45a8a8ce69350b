"""Access of keys: entities, expiry, rotation, rate limits, last use; and functions for admin keys to make keys."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add the columns, the table of uses and the functions; keys that exist stay as they are."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0011_key_access.sql").read_text())


def downgrade() -> None:
    """Refuse: a key that was bound to entities must not become one that is not."""
    raise NotImplementedError("what bounds a key is never dropped by a migration")
