"""The tables as SQLAlchemy knows them, for composed queries. A test proves them equal to the migrations."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

metadata = MetaData()

IDENTIFIER = Text(collation="C")
MOMENT = DateTime(timezone=True)

ledger_setting = Table(
    "ledger_setting",
    metadata,
    Column("name", IDENTIFIER, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("type", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("name", Text),
    Column("overdraft_limit_minor", BigInteger),
    Column("status", Text, nullable=False),
    Column("metadata", JSONB),
    Column("created_by", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Index("account_of_entity", "entity_id", "account_id"),
    Index("account_of_type", "type", "account_id"),
    Index("account_of_currency", "currency_code", "account_id"),
    Index("account_time", "created_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    Index("account_not_open", "status", "account_id", postgresql_where=text("status <> 'open'")),
)

account_balance = Table(
    "account_balance",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("account_id", IDENTIFIER, ForeignKey("account.account_id"), primary_key=True),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("normal_sign", SmallInteger, nullable=False),
    Column("balance_minor", BigInteger, nullable=False),
    Column("floor_minor", BigInteger),
    Column("version", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    Index("account_balance_row", "id", unique=True),
)

partition = Table(
    "partition",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("last_position", IDENTIFIER, nullable=False),
    Column("last_posted_at", MOMENT, nullable=False),
)

ledger_transaction = Table(
    "ledger_transaction",
    metadata,
    Column("partition", SmallInteger, nullable=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("external_id", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payment_id", IDENTIFIER, nullable=False),
    Column("relates_to", IDENTIFIER),
    Column("fingerprint", IDENTIFIER, nullable=False),
    Column("actor", Text, nullable=False),
    Column("description", Text),
    Column("metadata", JSON),
    Column("accepted_at", MOMENT, nullable=False),
    Column("effective_at", MOMENT, nullable=False),
    Column("posted_at", MOMENT, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partition", "chain_seq"),
    UniqueConstraint("entity_id", "external_id", name="ledger_transaction_external_id"),
    UniqueConstraint("payment_id", name="ledger_transaction_payment_id"),
    Index(
        "ledger_transaction_times",
        "posted_at",
        "effective_at",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    ),
    Index("ledger_transaction_relates_to", "relates_to", postgresql_where=text("relates_to IS NOT NULL")),
)

entry = Table(
    "entry",
    metadata,
    Column("account_id", IDENTIFIER, nullable=False),
    Column("entry_number", BigInteger, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("leg", SmallInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("balance_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("posted_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("account_id", "entry_number"),
    Index("entry_of_transaction", "partition", "chain_seq"),
    Index("entry_time", "posted_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
)

payment_return = Table(
    "payment_return",
    metadata,
    Column("payment_id", IDENTIFIER, nullable=False),
    Column("account_id", IDENTIFIER, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("returned_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("payment_id", "account_id", "chain_seq"),
    Index("payment_return_of_transaction", "partition", "chain_seq"),
)

payment_rejection = Table(
    "payment_rejection",
    metadata,
    Column("payment_id", IDENTIFIER, primary_key=True),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("external_id", IDENTIFIER, nullable=False),
    Column("fingerprint", IDENTIFIER, nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("figures", JSONB, nullable=False),
    Column("intent", JSONB, nullable=False),
    Column("rejected_at", MOMENT, nullable=False),
    Index("payment_rejection_external_id", "entity_id", "external_id"),
)

payment_duplicate = Table(
    "payment_duplicate",
    metadata,
    Column("payment_id", IDENTIFIER, primary_key=True),
    Column("original_payment_id", IDENTIFIER, nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
)

hold = Table(
    "hold",
    metadata,
    Column("payment_id", IDENTIFIER, primary_key=True),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("external_id", IDENTIFIER, nullable=False),
    Column("fingerprint", IDENTIFIER, nullable=False),
    Column("guarded_account_id", IDENTIFIER, nullable=False),
    Column("hold_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("legs", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_at", MOMENT, nullable=False),
    Column("captured_minor", BigInteger),
    Column("concluded_by", IDENTIFIER),
    Column("actor", Text, nullable=False),
    Column("description", Text),
    Column("effective_at", MOMENT),
    Column("metadata", JSON),
    Column("accepted_at", MOMENT, nullable=False),
    Column("concluded_at", MOMENT),
    UniqueConstraint("entity_id", "external_id", name="hold_external_id"),
    Index("hold_due", "expires_at", postgresql_where=text("state = 'authorized'")),
    Index("hold_open", "guarded_account_id", postgresql_where=text("state = 'authorized'")),
)

hold_event = Table(
    "hold_event",
    metadata,
    Column("hold_event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("payment_id", IDENTIFIER, nullable=False),
    Column("state", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("intent_id", IDENTIFIER),
    Column("recorded_at", MOMENT, nullable=False),
    Index("hold_event_payment", "payment_id", "hold_event_id"),
    Index("hold_event_intent", "intent_id"),
)

conflict_count = Table(
    "conflict_count",
    metadata,
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("retries", BigInteger, nullable=False),
    Column("exhausted", BigInteger, nullable=False),
    Column("last_at", MOMENT, nullable=False),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("audit_event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", IDENTIFIER, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("recorded_at", MOMENT, nullable=False),
    Index("audit_event_subject", "subject", "audit_event_id"),
    Index("audit_event_account_change", "audit_event_id", postgresql_where=text("action = 'account.change'")),
)

unfinished_change = Table(
    "unfinished_change",
    metadata,
    Column("unfinished_change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", IDENTIFIER, nullable=False),
    Column("actor", Text, nullable=False),
    Column("frozen_in", BigInteger),
    Column("former_status", Text),
    Column("begun_at", MOMENT, nullable=False),
)

asset = Table(
    "asset",
    metadata,
    Column("currency_code", IDENTIFIER, primary_key=True),
    Column("minor_units", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("registered_by", Text, nullable=False),
    Column("registered_at", MOMENT, nullable=False),
)

used_currency = Table(
    "used_currency",
    metadata,
    Column("currency_code", IDENTIFIER, primary_key=True),
    Column("minor_units", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("first_used_at", MOMENT, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("revoked_at", MOMENT),
    Column("entities", ARRAY(Text)),
    Column("expires_at", MOMENT),
    Column("rotated_from", IDENTIFIER),
    Column("rate_per_second", Integer),
    Column("rate_burst", Integer),
    UniqueConstraint("rotated_from", name="api_key_rotated_once"),
)

api_key_use = Table(
    "api_key_use",
    metadata,
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("last_used_at", MOMENT, nullable=False),
)

cache_identity = Table(
    "cache_identity",
    metadata,
    Column("partition", SmallInteger, ForeignKey("partition.partition"), primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("opened_at", MOMENT),
    Column("server", Text, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("entries_added", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("seen_at", MOMENT, nullable=False),
)

chain_head_export = Table(
    "chain_head_export",
    metadata,
    Column("partition", SmallInteger, nullable=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("exported_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("partition", "chain_seq"),
)
