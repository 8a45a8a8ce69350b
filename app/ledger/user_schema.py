"""The tables of users as SQLAlchemy knows them, beside those of the ledger."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.schema import UniqueConstraint

from app.ledger.schema import IDENTIFIER, MOMENT, metadata

__all__ = ["app_user", "metadata", "page_secret", "sign_in_try", "user_session"]

app_user = Table(
    "app_user",
    metadata,
    Column("user_id", IDENTIFIER, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),
    Column("totp_secret", Text),
    Column("totp_counter", BigInteger, nullable=False),
    Column("oidc_issuer", Text),
    Column("oidc_subject", Text),
    Column("invitation_hash", LargeBinary),
    Column("invitation_expires_at", MOMENT),
    Column("created_by", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("disabled_at", MOMENT),
    Column("key_proof", LargeBinary),
    UniqueConstraint("oidc_issuer", "oidc_subject", name="app_user_oidc"),
)

user_session = Table(
    "user_session",
    metadata,
    Column("session_hash", LargeBinary, primary_key=True),
    Column("user_id", IDENTIFIER, ForeignKey("app_user.user_id"), nullable=False),
    Column("method", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("begun_at", MOMENT, nullable=False),
    Column("seen_at", MOMENT, nullable=False),
    Column("expires_at", MOMENT, nullable=False),
    Column("ended_at", MOMENT),
    Index("user_session_open", "user_id", postgresql_where=text("ended_at IS NULL")),
)

sign_in_try = Table(
    "sign_in_try",
    metadata,
    Column("name_hash", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("next_try_at", MOMENT, nullable=False),
    Column("last_try_at", MOMENT, nullable=False),
    Index("sign_in_try_last", "last_try_at"),
)

page_secret = Table(
    "page_secret",
    metadata,
    Column("only_one", Boolean, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)
