"""Which pages of the growing tables have which times, so that reports find what is later than an instant.

The rows lie in the order of their times. So the least and the greatest time of every 128 pages is enough: some fifty
kilobytes for ten million entries, and it costs an insert hardly anything. A report reads every page without a summary.
So 128 pages get theirs as soon as they are full, and do not wait for the table to be vacuumed.
"""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add indexes; no row changes."""
    op.execute("CREATE INDEX account_time ON account USING brin (created_at) WITH (autosummarize = on)")
    op.execute("CREATE INDEX entry_time ON entry USING brin (posted_at) WITH (autosummarize = on)")
    op.execute(
        "CREATE INDEX ledger_transaction_times ON ledger_transaction USING brin (posted_at, effective_at)"
        " WITH (autosummarize = on)"
    )


def downgrade() -> None:
    """Drop the indexes."""
    op.execute("DROP INDEX account_time, entry_time, ledger_transaction_times")
