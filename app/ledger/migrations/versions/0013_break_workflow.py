"""Break workflow: who looks after a break, until when, and what was asked of the reconciliation."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"

HERE = Path(__file__).parent


def upgrade() -> None:
    """Add columns and a table; open breaks get a date by which they are due."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0013_break_workflow.sql").read_text())


def downgrade() -> None:
    """Refuse: what people have said about breaks is not deleted by a tool."""
    raise NotImplementedError("the history of breaks is never dropped by a migration")
