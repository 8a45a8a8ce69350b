"""The table of conflicts by hour as SQLAlchemy knows it, beside those of `schema.py`."""

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

conflict_hour = Table(
    "conflict_hour",
    metadata,
    Column("hour", MOMENT, nullable=False),
    Column("account_id", IDENTIFIER, nullable=False),
    Column("retries", BigInteger, nullable=False),
    Column("exhausted", BigInteger, nullable=False),
    Column("queued_us", BigInteger, nullable=False),
    Column("longest_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("hour", "account_id"),
)

__all__ = ["conflict_hour", "metadata"]
