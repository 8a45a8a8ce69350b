"""Ledger transactions and their entries, and the hash that chains them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from json import JSONEncoder
from json.encoder import encode_basestring as _text
from typing import Any

from app.domain.timestamps import to_microseconds

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
    entries = [
        canonical_entry(e.account_id, e.entry_number, e.amount_minor, e.balance_minor, e.currency_code)
        for e in transaction.entries
    ]
    return hash_behind(transaction.previous_hash, facts_of(transaction), ",".join(entries))


TransactionFacts = tuple[
    int, int, str, str, str, str, str | None, str, str, str | None, str | None, int, int, int
]  # fmt: skip
"""A transaction without its hashes: partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to,
fingerprint, actor, description, metadata (canonical JSON), accepted_at, effective_at, posted_at (microseconds since
1970 UTC). A tuple, for there is one a payment."""

TransactionRow = tuple[TransactionFacts, bytes, bytes]
"""What is written of a transaction: the facts, the predecessor's hash, its own hash."""

EntryRow = tuple[str, int, int, int, int, int, int, str, int]
"""What is written of an entry: account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor,
currency_code, posted_at (microseconds since 1970 UTC)."""


def facts_of(t: LedgerTransaction) -> TransactionFacts:
    """The facts that are hashed and written."""
    accepted_at_us = to_microseconds(t.accepted_at)
    return (
        t.partition,
        t.chain_seq,
        t.entity_id,
        t.external_id,
        t.kind,
        t.payment_id,
        t.relates_to,
        t.fingerprint,
        t.actor,
        t.description,
        None if t.metadata is None else canonical_json(t.metadata),
        accepted_at_us,
        accepted_at_us if t.effective_at is t.accepted_at else to_microseconds(t.effective_at),
        to_microseconds(t.posted_at),
    )


def rows_of(transactions: Iterable[LedgerTransaction]) -> tuple[list[TransactionRow], list[EntryRow]]:
    """What is written of transactions and their entries."""
    written: list[TransactionRow] = []
    lines: list[EntryRow] = []
    for t in transactions:
        facts = facts_of(t)
        written.append((facts, t.previous_hash, t.hash))
        lines += [
            (e.account_id, e.entry_number, t.partition, t.chain_seq, leg, e.amount_minor, e.balance_minor,
             e.currency_code, facts[-1])
            for leg, e in enumerate(t.entries)
        ]  # fmt: skip
    return written, lines


def hash_behind(previous_hash: bytes, facts: TransactionFacts, entries: str) -> bytes:
    """The hash of a transaction; `entries` are their canonical forms, joined by commas.

    The array of `chain_hash` is put together by hand: at a fifth of the encoder's cost, for every payment posted.
    """
    (
        partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint,
        actor, description, metadata, accepted_at_us, effective_at_us, posted_at_us,
    ) = facts  # fmt: skip
    canonical = (
        f"[{partition},{chain_seq},{_text(entity_id)},{_text(external_id)},{_text(kind)},{_text(payment_id)},"
        f"{'null' if relates_to is None else _text(relates_to)},{_text(fingerprint)},{_text(actor)},"
        f"{'null' if description is None else _text(description)},{'null' if metadata is None else metadata},"
        f"{accepted_at_us},{effective_at_us},{posted_at_us},[{entries}]]"
    )
    return sha256(previous_hash + canonical.encode()).digest()


def canonical_entry(
    account_id: str, entry_number: int, amount_minor: int, balance_minor: int, currency_code: str
) -> str:
    """An entry as it is hashed."""
    return f"[{_text(account_id)},{entry_number},{amount_minor},{balance_minor},{_text(currency_code)}]"
