"""The tables of signed heads and Merkle trees as SQLAlchemy knows them; a test proves them equal to the migrations."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
)

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

__all__ = ["ledger_identity", "merkle_subtree", "metadata", "signed_head", "signing_key"]

ledger_identity = Table(
    "ledger_identity",
    metadata,
    Column("ledger_id", IDENTIFIER, primary_key=True),
    Column("created_at", MOMENT, nullable=False),
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("introduced_at", MOMENT, nullable=False),
    Column("endorsed_by", IDENTIFIER, ForeignKey("signing_key.key_id")),
    Column("signature", LargeBinary, nullable=False),
)

signed_head = Table(
    "signed_head",
    metadata,
    Column("signed_head_id", BigInteger, Identity(always=True), primary_key=True),
    Column("partition", SmallInteger, nullable=False),
    Column("chain_seq", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("signed_at", MOMENT, nullable=False),
    Column("key_id", IDENTIFIER, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Index("signed_head_of_chain", "partition", "chain_seq", "signed_head_id"),
)

merkle_subtree = Table(
    "merkle_subtree",
    metadata,
    Column("partition", SmallInteger, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partition", "level", "number"),
)
