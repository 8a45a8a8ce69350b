"""The tables of matching as SQLAlchemy knows them, beside those of `statement_schema.py`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

statement_account = Table(
    "statement_account",
    metadata,
    Column("statement_account_id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_name", IDENTIFIER, nullable=False),
    Column("account_ref", IDENTIFIER, nullable=False),
    Column("currency_code", IDENTIFIER, nullable=False),
    UniqueConstraint("source_name", "account_ref", "currency_code", name="statement_account_once"),
)

matching_setup = Table(
    "matching_setup",
    metadata,
    Column("statement_account_id", BigInteger, ForeignKey("statement_account.statement_account_id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("account_id", IDENTIFIER, ForeignKey("account.account_id"), nullable=False),
    Column("starts_on", Date, nullable=False),
    Column("rules", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("statement_account_id", "version"),
)

match_run = Table(
    "match_run",
    metadata,
    Column("match_run_id", BigInteger, Identity(always=True), primary_key=True),
    Column("statement_account_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("line_count", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    Column("matched_count", BigInteger, nullable=False),
    Column("suggested_count", BigInteger, nullable=False),
    Column("covered_through", Date),
    Column("run_by", Text, nullable=False),
    Column("run_at", MOMENT, nullable=False),
    ForeignKeyConstraint(
        ["statement_account_id", "version"], ["matching_setup.statement_account_id", "matching_setup.version"]
    ),
    Index("match_run_of_account", "statement_account_id", "match_run_id"),
)

statement_match = Table(
    "statement_match",
    metadata,
    Column("match_id", BigInteger, Identity(always=True), primary_key=True),
    Column("statement_account_id", BigInteger, ForeignKey("statement_account.statement_account_id"), nullable=False),
    Column("match_run_id", BigInteger, ForeignKey("match_run.match_run_id")),
    Column("rule", Text, nullable=False),
    Column("figures", JSONB, nullable=False),
    Column("lines_minor", Numeric(30), nullable=False),
    Column("entries_minor", Numeric(30), nullable=False),
    Column("settled_on", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("former_match_id", BigInteger, ForeignKey("statement_match.match_id")),
    Column("journal_id", IDENTIFIER),
    Column("made_by", Text, nullable=False),
    Column("made_at", MOMENT, nullable=False),
    Index("statement_match_of_account", "statement_account_id", "settled_on", "match_id"),
    Index(
        "statement_match_suggested",
        "statement_account_id",
        "match_id",
        postgresql_where=text("state = 'suggested'"),
    ),
)

match_line = Table(
    "match_line",
    metadata,
    Column("match_id", BigInteger, ForeignKey("statement_match.match_id"), nullable=False),
    Column("statement_line_id", BigInteger, ForeignKey("statement_line.statement_line_id"), nullable=False),
    Column("is_live", Boolean, nullable=False),
    PrimaryKeyConstraint("match_id", "statement_line_id"),
    Index("match_line_once", "statement_line_id", unique=True, postgresql_where=text("is_live")),
)

match_entry = Table(
    "match_entry",
    metadata,
    Column("match_id", BigInteger, ForeignKey("statement_match.match_id"), nullable=False),
    Column("account_id", IDENTIFIER, nullable=False),
    Column("entry_number", BigInteger, nullable=False),
    Column("is_live", Boolean, nullable=False),
    PrimaryKeyConstraint("match_id", "account_id", "entry_number"),
    Index("match_entry_once", "account_id", "entry_number", unique=True, postgresql_where=text("is_live")),
)

match_event = Table(
    "match_event",
    metadata,
    Column("match_event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("match_id", BigInteger, ForeignKey("statement_match.match_id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
    Index("match_event_of_match", "match_id", "match_event_id"),
)

unmatched_item = Table(
    "unmatched_item",
    metadata,
    Column("unmatched_item_id", BigInteger, Identity(always=True), primary_key=True),
    Column("statement_account_id", BigInteger, ForeignKey("statement_account.statement_account_id"), nullable=False),
    Column("statement_line_id", BigInteger, ForeignKey("statement_line.statement_line_id")),
    Column("entry_number", BigInteger),
    Column("booked_on", Date, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("other_minor", BigInteger),
    Column("reason", Text, nullable=False),
    Column("resembles", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("break_id", BigInteger, ForeignKey("reconciliation_break.break_id")),
    Column("first_seen_at", MOMENT, nullable=False),
    Column("settled_at", MOMENT),
    Index(
        "unmatched_item_of_line",
        "statement_line_id",
        unique=True,
        postgresql_where=text("is_open AND (statement_line_id IS NOT NULL)"),
    ),
    Index(
        "unmatched_item_of_entry",
        "statement_account_id",
        "entry_number",
        unique=True,
        postgresql_where=text("is_open AND (entry_number IS NOT NULL)"),
    ),
    Index(
        "unmatched_item_of_account",
        "statement_account_id",
        "booked_on",
        "unmatched_item_id",
        postgresql_where=text("is_open"),
    ),
)

sign_off = Table(
    "sign_off",
    metadata,
    Column("sign_off_id", BigInteger, Identity(always=True), primary_key=True),
    Column("statement_account_id", BigInteger, ForeignKey("statement_account.statement_account_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("last_on", Date, nullable=False),
    Column("version", Integer, nullable=False),
    Column("former_id", BigInteger, ForeignKey("sign_off.sign_off_id")),
    Column("signed_through", Date),
    Column("summary", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("signed_by", Text, nullable=False),
    Column("signed_at", MOMENT, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("statement_account_id", "number", name="sign_off_number"),
)
