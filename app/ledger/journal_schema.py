"""The tables of proposed journals and of templates as SQLAlchemy knows them, beside those of `schema.py`."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

journal_proposal = Table(
    "journal_proposal",
    metadata,
    Column("proposal_id", BigInteger, Identity(always=True), primary_key=True),
    Column("entity_id", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("external_id", IDENTIFIER, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("effective_at", MOMENT),
    Column("metadata", JSON(none_as_null=True)),
    Column("relates_to", IDENTIFIER),
    Column("entered_by", Text, nullable=False),
    Column("entered_at", MOMENT, nullable=False),
    Index("journal_proposal_external_id", "entity_id", "external_id"),
)

journal_decision = Table(
    "journal_decision",
    metadata,
    Column(
        "proposal_id",
        BigInteger,
        ForeignKey("journal_proposal.proposal_id"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("decision", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", MOMENT, nullable=False),
    Column("reason", Text),
    Column("journal_id", IDENTIFIER),
    UniqueConstraint("journal_id", name="journal_decision_journal_id"),
)

journal_template = Table(
    "journal_template",
    metadata,
    Column("name", IDENTIFIER, nullable=False),
    Column("version", Integer, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("saved_by", Text, nullable=False),
    Column("saved_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("name", "version"),
)
