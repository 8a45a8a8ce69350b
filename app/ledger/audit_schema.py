"""The tables of the audit as SQLAlchemy knows them, beside those of `schema.py`."""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Sequence, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import INET

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

audit_call = Table(
    "audit_call",
    metadata,
    Column("number", BigInteger, Sequence("audit_call_number"), nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
    Column("called_at", MOMENT, nullable=False),
    Column("request_id", IDENTIFIER),
    Column("action", Text),
    Column("actor", Text),
    Column("key_id", IDENTIFIER),
    Column("entity_id", IDENTIFIER),
    Column("ip", INET),
    Column("method", Text),
    Column("route", Text),
    Column("path", Text),
    Column("status", SmallInteger),
    Column("code", Text),
    Column("duration_us", BigInteger),
    Column("account_id", IDENTIFIER),
    Column("payment_id", IDENTIFIER),
    Column("external_id", IDENTIFIER),
    Column("request", Text),
    Column("request_bytes", BigInteger),
    Column("response", Text),
    Column("response_bytes", BigInteger),
    Column("calls", BigInteger, nullable=False),
    Index("audit_call_in_order", "called_at", "number"),
    Index("audit_call_request_id", "request_id"),
    Index("audit_call_payment_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
    Index("audit_call_account_id", "account_id", "called_at", postgresql_where=text("account_id IS NOT NULL")),
    Index("audit_call_external_id", "external_id", postgresql_where=text("external_id IS NOT NULL")),
    Index(
        "audit_call_action",
        "action",
        "called_at",
        postgresql_where=text("action NOT IN ('payment', 'authorization', 'capture', 'void', 'expiry')"),
    ),
)

audit_retention = Table(
    "audit_retention",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("days", Integer, nullable=False),
    Column("set_at", MOMENT, nullable=False),
)

__all__ = ["audit_call", "audit_retention", "metadata"]
