"""When something is next to be tried, of each webhook endpoint."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add an index; no row changes."""
    op.execute("CREATE INDEX webhook_waiting_due ON webhook_waiting (endpoint_id, next_at) WHERE dead_at IS NULL")


def downgrade() -> None:
    """Drop the index."""
    op.execute("DROP INDEX webhook_waiting_due")
