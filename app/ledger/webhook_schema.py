"""The tables of webhooks and balance monitors as SQLAlchemy knows them, beside those of `schema.py`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("endpoint_id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("types", ARRAY(Text)),
    Column("account_id", IDENTIFIER),
    Column("entities", ARRAY(Text)),
    Column("is_ordered", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
)

webhook_secret = Table(
    "webhook_secret",
    metadata,
    Column("secret_id", BigInteger, Identity(always=True), primary_key=True),
    Column("endpoint_id", IDENTIFIER, ForeignKey("webhook_endpoint.endpoint_id"), nullable=False),
    Column("secret", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("expires_at", MOMENT),
    Index("webhook_secret_of_endpoint", "endpoint_id", "secret_id"),
)

webhook_waiting = Table(
    "webhook_waiting",
    metadata,
    Column("endpoint_id", IDENTIFIER, ForeignKey("webhook_endpoint.endpoint_id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("event_id", IDENTIFIER, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("account_ids", ARRAY(Text), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_at", MOMENT, nullable=False),
    Column("next_at", MOMENT, nullable=False),
    Column("dead_at", MOMENT),
    Column("last_failure", Text, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "position", "part", "slot"),
    Index("webhook_waiting_dead", "endpoint_id", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
    Index("webhook_waiting_due", "endpoint_id", "next_at", postgresql_where=text("dead_at IS NULL")),
)

webhook_attempt = Table(
    "webhook_attempt",
    metadata,
    Column("attempt_id", BigInteger, Identity(always=True), primary_key=True),
    Column("endpoint_id", IDENTIFIER, nullable=False),
    Column("event_id", IDENTIFIER, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("sequence", IDENTIFIER, nullable=False),
    Column("number", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("started_at", MOMENT, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", SmallInteger),
    Column("answer", Text, nullable=False),
    Column("is_delivered", Boolean, nullable=False),
    Index("webhook_attempt_of_endpoint", "endpoint_id", "attempt_id"),
    Index("webhook_attempt_of_event", "event_id"),
)

balance_monitor = Table(
    "balance_monitor",
    metadata,
    Column("monitor_id", IDENTIFIER, primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("account.account_id"), nullable=False),
    Column("measure", Text, nullable=False),
    Column("comparison", Text, nullable=False),
    Column("threshold_minor", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("is_met", Boolean, nullable=False),
    Column("entry_number", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("ended_at", MOMENT),
    Index("balance_monitor_of_account", "account_id", postgresql_where=text("ended_at IS NULL")),
)

monitor_crossing = Table(
    "monitor_crossing",
    metadata,
    Column("crossing_id", BigInteger, Identity(always=True), primary_key=True),
    Column("monitor_id", IDENTIFIER, ForeignKey("balance_monitor.monitor_id"), nullable=False),
    Column("is_met", Boolean, nullable=False),
    Column("value_minor", BigInteger, nullable=False),
    Column("account_version", BigInteger, nullable=False),
    Column("event_id", IDENTIFIER, nullable=False),
    Column("crossed_at", MOMENT, nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
    UniqueConstraint("monitor_id", "event_id", name="monitor_crossing_once"),
)
