"""Which pages of the growing tables have which times, so that reports of the past find what is later than an instant.

The rows lie in the order of their times, so the least and the greatest time of every 128 pages is enough: a hundred
kilobytes for ten million entries, and next to nothing for the one who adds a row. Newer pages are always read, so each
128 are summarized as soon as they are full, and not only when the table is vacuumed.
"""

from alembic import op

revision = "0024"
down_revision = "0023"

INDEXES = {
    "entry_time": "entry (posted_at)",
    "ledger_transaction_times": "ledger_transaction (posted_at, effective_at)",
    "account_time": "account (created_at)",
}


def upgrade() -> None:
    """Add indexes; no row changes."""
    for name, columns in INDEXES.items():
        table, _, of = columns.partition(" ")
        op.execute(f"CREATE INDEX {name} ON {table} USING brin {of} WITH (autosummarize = on)")


def downgrade() -> None:
    """Drop the indexes."""
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
