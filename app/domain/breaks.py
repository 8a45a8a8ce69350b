"""Breaks: differences that reconciliation or chain verification finds, as values."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class BreakKind(StrEnum):
    """The kinds of difference that a reconciliation or a verification finds."""

    BALANCE_NOT_SUM = "balance_not_sum"
    """An account's balance in the ledger is not the sum of its entries."""
    ENTRY_GAP = "entry_gap"
    """An account's entry numbers have a gap, or its count is wrong."""
    ENTRY_RUNNING_BALANCE = "entry_running_balance"
    """An entry's balance does not follow from its predecessor's."""
    ORPHAN_ENTRY = "orphan_entry"
    """An entry without its account or its ledger transaction."""
    ENTRY_MISMATCH = "entry_mismatch"
    """An entry has another currency or entity than its account, or another time than its ledger transaction."""
    TRANSACTION_UNBALANCED = "transaction_unbalanced"
    """A ledger transaction's entries do not sum to zero, or it has fewer than two."""
    TRIAL_BALANCE = "trial_balance"
    """Debits and credits of a currency differ."""
    ACCOUNT_MISMATCH = "account_mismatch"
    """An account and its balance row differ in entity, currency, normal side or floor, or one of them is missing."""
    AUTHORIZATION_MISMATCH = "authorization_mismatch"
    """An authorization, its history and its capture do not tell the same."""
    ANSWERED_TWICE = "answered_twice"
    """A payment that the ledger has rejected and also posted or authorized."""
    DUPLICATE_WITHOUT_ORIGINAL = "duplicate_without_original"
    """A repeat of a payment that the ledger does not have."""
    RETURN_MISMATCH = "return_mismatch"
    """What a payment has given back, and the refunds and journals that took it, do not tell the same."""
    AUDIT_MISMATCH = "audit_mismatch"
    """The audit trail and what it tells of differ: a deed without its event, or an event without its deed."""
    BREAK_HISTORY = "break_history"
    """A recorded break is in another state, or has another owner, reason or due date, than its history says."""
    CACHE_BEHIND = "cache_behind"
    """The cache has not heard of entries that the ledger has, and nothing on its way will tell it."""
    CACHE_BALANCE = "cache_balance"
    """The cache's balance differs from the ledger's at the same entry number."""
    CACHE_AHEAD = "cache_ahead"
    """The cache knows entries that the ledger does not have."""
    CACHE_FLOOR = "cache_floor"
    """The cache guards another floor than the ledger."""
    HELD_NOT_SUM = "held_not_sum"
    """An account's held amount is not the sum of its holds."""
    HOLD_WITHOUT_INTENT = "hold_without_intent"
    """A hold that no outstanding intent explains."""
    AUTHORIZATION_WITHOUT_HOLD = "authorization_without_hold"
    """An open authorization whose hold the cache lacks: its funds could be spent twice."""
    INTENT_WITHOUT_HOLD = "intent_without_hold"
    """An outstanding intent whose hold is missing or differs."""
    CACHE_LOST = "cache_lost"
    """The cache was not the one it was, and was opened again from the ledger. No later run can see what was lost, so
    the break stays open until somebody accepts it."""
    CHAIN_HASH = "chain_hash"
    """A ledger transaction does not match its hash: it was changed."""
    CHAIN_LINK = "chain_link"
    """A ledger transaction does not follow its predecessor: one is missing or was replaced."""
    CHAIN_HEAD = "chain_head"
    """A chain does not end where its head, or an exported head, says: its tail was cut, or the head was moved."""
    CHAIN_TIME = "chain_time"
    """A ledger transaction is dated before its predecessor, or in the future."""
    SIGNED_HEAD = "signed_head"
    """A chain is not what it was when its head was signed: its history was rewritten or cut since."""
    MERKLE_SUBTREE = "merkle_subtree"
    """A node of a Merkle tree is not that of the transactions below it: one of the two was changed."""
    CURSOR_AHEAD = "cursor_ahead"
    """The cursor of the incremental runs is beyond the end of its chain; the chain is proven from its beginning."""


OF_THE_CACHE = frozenset(
    {
        BreakKind.CACHE_BEHIND,
        BreakKind.CACHE_BALANCE,
        BreakKind.CACHE_AHEAD,
        BreakKind.CACHE_FLOOR,
        BreakKind.HELD_NOT_SUM,
        BreakKind.HOLD_WITHOUT_INTENT,
        BreakKind.AUTHORIZATION_WITHOUT_HOLD,
        BreakKind.INTENT_WITHOUT_HOLD,
        BreakKind.CACHE_LOST,
    }
)
"""Breaks of the cache alone, which can be rebuilt from the ledger; the other kinds are about the ledger."""


@dataclass(slots=True)
class Break:
    """One difference: its kind, its subject, the figures of both sides, and the account where it is about one."""

    kind: BreakKind
    subject: str
    figures: dict[str, Any]
    account_id: str | None = None


Head = tuple[int, int, bytes]
"""A partition, a place in its chain, and the hash there."""


@dataclass(slots=True, frozen=True)
class ChainRange:
    """A chain's transactions `after < chain_seq <= up_to`, as the rows have them, and the hash of the last one.

    `head` is what the partition's own row says of the end; None where there is no such row. `cursor` is where the
    incremental runs stand.
    """

    partition: int
    after: int
    up_to: int
    last_hash: bytes
    head: tuple[int, bytes] | None = None
    cursor: int = 0

    def pieces(self, size: int) -> Iterator["ChainRange"]:
        """The range in pieces of at most `size` transactions, in order."""
        for after in range(self.after, self.up_to, size):
            yield ChainRange(self.partition, after, min(after + size, self.up_to), self.last_hash)

    def breaks(self) -> Iterator["Break"]:
        """What the partition's row and the cursor say that the rows do not bear out."""
        if self.head != (self.up_to, self.last_hash):
            head_seq, head_hash = self.head or (None, b"")
            figures = {"head_seq": head_seq, "last_seq": self.up_to}
            hashes = {"head_hash": head_hash.hex(), "last_hash": self.last_hash.hex()}
            subject = self.up_to if head_seq is None else head_seq
            yield Break(BreakKind.CHAIN_HEAD, f"{self.partition}/{subject}", figures | hashes)
        if self.cursor > self.up_to:
            figures = {"cursor_seq": self.cursor, "last_seq": self.up_to}
            yield Break(BreakKind.CURSOR_AHEAD, f"{self.partition}", figures)


def expected_of(ranges: Iterable[ChainRange]) -> dict[str, int]:
    """What a run over these ranges sets out to check."""
    return {"transactions": sum(max(0, part.up_to - max(part.after, 0)) for part in ranges)}


@dataclass(slots=True, frozen=True)
class RecomputedRange:
    """A range as the database recomputed it: its transactions and entries, the last hash, and how many are in order."""

    transactions: int
    entries: int
    last_hash: bytes | None
    in_order: int


@dataclass(slots=True)
class ProofReport:
    """What a run checked, and the breaks it found."""

    mode: str
    checked: dict[str, int] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    healed: list[Break] = field(default_factory=list)
    """What the run found and corrected itself; recorded, and resolved."""
    open_breaks: int = 0
    run_id: int | None = None
    seconds: float = 0.0

    def add(self, other: "ProofReport") -> None:
        """Add what another part of the run checked and found."""
        for what, number in other.checked.items():
            self.count(what, number)
        self.breaks += other.breaks

    def count(self, what: str, number: int) -> None:
        """Add to what was checked."""
        self.checked[what] = self.checked.get(what, 0) + number
