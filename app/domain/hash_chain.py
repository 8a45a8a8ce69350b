"""Ledger transactions and their entries, and the hash that chains the transactions of a partition.

Posting writes rows: tuples, for there is one for each payment. What reads or verifies the ledger gets a
`LedgerTransaction`. Both forms are hashed by the same function.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from json import JSONEncoder, loads
from json.encoder import encode_basestring as _text
from typing import Any

from app.domain.timestamps import from_microseconds, to_microseconds

GENESIS_HASH = bytes(32)
"""The hash that the first transaction of a partition names as its predecessor's."""

canonical_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""JSON in the one form that is hashed. Metadata is kept in this form, so that SQL can recompute the hash too."""


@dataclass(slots=True)
class Entry:
    """One immutable line of an account: its signed amount, debit positive, and the account's balance after it."""

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


TransactionFacts = tuple[
    int, int, str, str, str, str, str | None, str, str, str | None, str | None, int, int, int
]  # fmt: skip
"""A transaction without its hashes: partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to,
fingerprint, actor, description, metadata (canonical JSON), accepted_at, effective_at, posted_at (microseconds since
1970 UTC)."""

TransactionRow = tuple[TransactionFacts, bytes, bytes]
"""A transaction as it is written: its facts, the predecessor's hash, its own hash."""

EntryRow = tuple[str, int, int, int, int, int, int, str, int]
"""An entry as it is written: account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor,
currency_code, posted_at (microseconds since 1970 UTC)."""


def chain_hash(transaction: LedgerTransaction) -> bytes:
    """SHA-256 of the predecessor's hash and the canonical form.

    The canonical form is a JSON array in the order below, without white space, keys sorted, UTF-8, times in
    microseconds since 1970 UTC; entries in leg order. Anyone can recompute it from the tables alone.
    """
    entries = [
        canonical_entry(e.account_id, e.entry_number, e.amount_minor, e.balance_minor, e.currency_code)
        for e in transaction.entries
    ]
    return hash_transaction(transaction.previous_hash, _facts_of(transaction), ",".join(entries))


def _facts_of(t: LedgerTransaction) -> TransactionFacts:
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
        to_microseconds(t.accepted_at),
        to_microseconds(t.effective_at),
        to_microseconds(t.posted_at),
    )


def hash_transaction(previous_hash: bytes, facts: TransactionFacts, entries: str) -> bytes:
    """The hash of a transaction; `entries` are the canonical forms of its entries, joined by commas.

    It writes the array of `chain_hash` by hand, which costs a fifth of the JSON encoder: it runs for every payment.
    """
    return sha256(previous_hash + canonical_transaction(facts, entries).encode()).digest()


def canonical_transaction(facts: TransactionFacts, entries: str) -> str:
    """A transaction as it is hashed, after the predecessor's hash."""
    (
        partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint,
        actor, description, metadata, accepted_at_us, effective_at_us, posted_at_us,
    ) = facts  # fmt: skip
    return (
        f"[{partition},{chain_seq},{_text(entity_id)},{_text(external_id)},{_text(kind)},{_text(payment_id)},"
        f"{'null' if relates_to is None else _text(relates_to)},{_text(fingerprint)},{_text(actor)},"
        f"{'null' if description is None else _text(description)},{'null' if metadata is None else metadata},"
        f"{accepted_at_us},{effective_at_us},{posted_at_us},[{entries}]]"
    )


def canonical_entry(
    account_id: str, entry_number: int, amount_minor: int, balance_minor: int, currency_code: str
) -> str:
    """An entry as it is hashed."""
    return f"[{_text(account_id)},{entry_number},{amount_minor},{balance_minor},{_text(currency_code)}]"


def transactions_from(rows: Iterable[TransactionRow], entry_rows: Iterable[EntryRow]) -> list[LedgerTransaction]:
    """Written transactions with their entries, as readers see them."""
    entries: dict[tuple[int, int], list[Entry]] = {}
    for account_id, number, partition, chain_seq, _, amount_minor, balance_minor, currency_code, _ in entry_rows:
        entry = Entry(account_id, number, amount_minor, balance_minor, currency_code)
        entries.setdefault((partition, chain_seq), []).append(entry)
    return [_transaction_from(row, entries[row[0][:2]]) for row in rows]


def _transaction_from(row: TransactionRow, entries: list[Entry]) -> LedgerTransaction:
    (*texts, metadata, accepted_at_us, effective_at_us, posted_at_us), previous_hash, own_hash = row
    times = [from_microseconds(one) for one in (accepted_at_us, effective_at_us, posted_at_us)]
    fields: list[Any] = [
        *texts,
        None if metadata is None else loads(metadata),
        *times,
        entries,
        previous_hash,
        own_hash,
    ]
    return LedgerTransaction(*fields)
