"""The books: accounts, balances, transactions, entries, hash chains, audit, reconciliation."""

from pathlib import Path

from alembic import context, op
from sqlalchemy import text

from app.domain.hash_chain import GENESIS_HASH

revision = "0001"
down_revision = None

HERE = Path(__file__).parent


def _run_script(name: str) -> None:
    """Run a SQL file as it stands: without parameters, so that its percent signs are its own."""
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / name).read_text())


def upgrade() -> None:
    """Create the books; the number of partitions is fixed here, for good."""
    connection = op.get_bind()
    _run_script("0001_books.sql")
    partitions = context.config.attributes["partitions"]
    connection.execute(
        text("INSERT INTO ledger_setting VALUES ('partitions', :partitions), ('directory_version', 1)"),
        {"partitions": partitions},
    )
    connection.execute(
        text("INSERT INTO partition (partition, chain_hash) SELECT n, :genesis FROM generate_series(0, :last) AS n"),
        {"genesis": GENESIS_HASH, "last": partitions - 1},
    )
    connection.execute(text("INSERT INTO reconciliation_cursor (partition) SELECT partition FROM partition"))
    _run_script("0001_grants.sql")


def downgrade() -> None:
    """Refuse: books are not deleted by a tool."""
    raise NotImplementedError("the books are never dropped by a migration")
