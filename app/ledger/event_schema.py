"""The tables of events as SQLAlchemy knows them, beside those of `schema.py`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

event_head = Table(
    "event_head",
    metadata,
    Column("singleton", Boolean, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

event_chain = Table(
    "event_chain",
    metadata,
    Column("partition", SmallInteger, ForeignKey("partition.partition"), primary_key=True, autoincrement=False),
    Column("chain_seq", BigInteger, nullable=False),
)

event_notice = Table(
    "event_notice",
    metadata,
    Column("notice_id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("source_id", IDENTIFIER, nullable=False),
    Column("noted_at", MOMENT, nullable=False),
    Column("account_id", IDENTIFIER),
    Column("held_change_minor", BigInteger),
    Column("balance_minor", BigInteger),
    Column("entry_number", BigInteger),
    Column("changes_floor", Boolean, nullable=False),
    Column("floor_before_minor", BigInteger),
    Index("event_notice_of_floor", "account_id", postgresql_where=text("changes_floor")),
)

event_log = Table(
    "event_log",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("partition", SmallInteger),
    Column("first_seq", BigInteger),
    Column("last_seq", BigInteger),
    Column("source_id", IDENTIFIER),
    Column("account_id", IDENTIFIER),
    Column("sequenced_at", MOMENT, nullable=False),
    Index("event_log_of_chain", "partition", "last_seq", postgresql_where=text("kind = 'chain'")),
)

event_held = Table(
    "event_held",
    metadata,
    Column("account_id", IDENTIFIER, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("held_minor", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("balance_minor", BigInteger),
    Column("entry_number", BigInteger),
    Column("is_told", Boolean, nullable=False),
    PrimaryKeyConstraint("account_id", "position"),
)

event_floor = Table(
    "event_floor",
    metadata,
    Column("account_id", IDENTIFIER, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("floor_before_minor", BigInteger),
    PrimaryKeyConstraint("account_id", "position"),
)
