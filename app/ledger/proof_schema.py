"""The tables of the proofs as SQLAlchemy knows them, beside those of `schema.py`: runs, breaks, requests, cursors."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

UNSETTLED = text("state IN ('open', 'investigating')")

reconciliation_run = Table(
    "reconciliation_run",
    metadata,
    Column("run_id", BigInteger, Identity(always=True), primary_key=True),
    Column("mode", Text, nullable=False),
    Column("started_at", MOMENT, nullable=False),
    Column("finished_at", MOMENT),
    Column("checked", JSONB),
    Column("break_count", Integer),
    Column("asked_by", Text),
    Column("expected", JSONB),
    Column("heard_at", MOMENT),
    Index("reconciliation_run_full", "run_id", postgresql_where=text("mode = 'full'")),
)

reconciliation_break = Table(
    "reconciliation_break",
    metadata,
    Column("break_id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", IDENTIFIER, nullable=False),
    Column("figures", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("owner", Text),
    Column("reason_code", Text),
    Column("first_run_id", BigInteger, ForeignKey("reconciliation_run.run_id")),
    Column("last_run_id", BigInteger, ForeignKey("reconciliation_run.run_id")),
    Column("first_seen_at", MOMENT, nullable=False),
    Column("last_seen_at", MOMENT, nullable=False),
    Column("source", Text, nullable=False),
    Column("account_id", IDENTIFIER),
    Column("entity_id", IDENTIFIER),
    Column("currency_code", Text),
    Column("ledger_minor", Numeric(30)),
    Column("other_minor", Numeric(30)),
    Column("evidence", JSONB, nullable=False),
    Column("due_at", MOMENT),
    Column("settled_at", MOMENT),
    Index(
        "reconciliation_break_unsettled",
        "kind",
        "subject",
        unique=True,
        postgresql_where=UNSETTLED,
    ),
    Index("reconciliation_break_due", "due_at", "break_id", postgresql_where=UNSETTLED),
    Index("reconciliation_break_account", "account_id", "break_id", postgresql_where=text("account_id IS NOT NULL")),
)

reconciliation_break_event = Table(
    "reconciliation_break_event",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("break_id", BigInteger, ForeignKey("reconciliation_break.break_id"), nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
    Column("action", Text),
    Column("owner", Text),
    Column("reason_code", Text),
    Column("due_at", MOMENT),
    Index("reconciliation_break_event_of_break", "break_id", "event_id"),
)

reconciliation_request = Table(
    "reconciliation_request",
    metadata,
    Column("request_id", BigInteger, Identity(always=True), primary_key=True),
    Column("mode", Text, nullable=False),
    Column("break_id", BigInteger, ForeignKey("reconciliation_break.break_id")),
    Column("account_id", IDENTIFIER),
    Column("reason", Text, nullable=False),
    Column("preview", JSONB),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", MOMENT, nullable=False),
    Column("started_at", MOMENT),
    Column("run_id", BigInteger, ForeignKey("reconciliation_run.run_id")),
    Column("finished_at", MOMENT),
    Column("outcome", Text),
    Column("detail", Text, nullable=False),
    Index("reconciliation_request_waiting", "request_id", postgresql_where=text("finished_at IS NULL")),
    Index("reconciliation_request_of_break", "break_id", postgresql_where=text("break_id IS NOT NULL")),
)

reconciliation_cursor = Table(
    "reconciliation_cursor",
    metadata,
    Column("partition", SmallInteger, ForeignKey("partition.partition"), primary_key=True, autoincrement=False),
    Column("chain_seq", BigInteger, nullable=False),
)
