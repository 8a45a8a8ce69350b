"""Ledger transactions and their entries, and the hash that chains them."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from json import JSONEncoder
from json.encoder import encode_basestring as _text
from typing import Any

from app.domain.clock import to_microseconds

GENESIS_HASH = bytes(32)
"""What the first transaction of a partition names as its predecessor's hash."""

canonical_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""JSON in the one form that is hashed; metadata is kept in this form, so that SQL can recompute the hash too."""


@dataclass(slots=True)
class Entry:
    """One immutable line of an account: signed amount, debit positive, and the balance it left behind."""

    account_id: str
    entry_number: int
    amount_minor: int
    balance_minor: int
    currency_code: str


@dataclass(slots=True)
class LedgerTransaction:
    """One immutable, balanced movement: its entries sum to zero per currency."""

    partition: int
    chain_seq: int
    entity_id: str
    external_id: str
    kind: str
    payment_id: str
    relates_to: str | None
    fingerprint: str
    actor: str
    description: str | None
    metadata: dict[str, Any] | None
    accepted_at: datetime
    effective_at: datetime
    posted_at: datetime
    entries: list[Entry]
    previous_hash: bytes = b""
    hash: bytes = b""


def chain_hash(transaction: LedgerTransaction) -> bytes:
    """SHA-256 of the predecessor's hash and the canonical form.

    The canonical form is a JSON array in the order below, without white space, keys sorted, UTF-8, times in
    microseconds since 1970 UTC; entries in leg order. Anyone can recompute it from the tables alone.
    """
    return sha256(transaction.previous_hash + _canonical(transaction).encode()).digest()


def _canonical(t: LedgerTransaction) -> str:
    """The array of `chain_hash`, put together by hand: at a fifth of the encoder's cost, for every payment posted."""
    entries = ",".join(
        [
            f"[{_text(e.account_id)},{e.entry_number},{e.amount_minor},{e.balance_minor},{_text(e.currency_code)}]"
            for e in t.entries
        ]
    )
    relates_to = "null" if t.relates_to is None else _text(t.relates_to)
    description = "null" if t.description is None else _text(t.description)
    metadata = "null" if t.metadata is None else canonical_json(t.metadata)
    accepted_at = to_microseconds(t.accepted_at)
    effective_at = accepted_at if t.effective_at is t.accepted_at else to_microseconds(t.effective_at)
    return (
        f"[{t.partition},{t.chain_seq},{_text(t.entity_id)},{_text(t.external_id)},{_text(t.kind)},"
        f"{_text(t.payment_id)},{relates_to},{_text(t.fingerprint)},{_text(t.actor)},{description},{metadata},"
        f"{accepted_at},{effective_at},{to_microseconds(t.posted_at)},[{entries}]]"
    )
