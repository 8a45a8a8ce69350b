"""Breaks: differences that reconciliation or chain verification finds, as values."""

from collections.abc import Iterator
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
    TRANSACTION_UNBALANCED = "transaction_unbalanced"
    """A ledger transaction's entries do not sum to zero, or it has fewer than two."""
    TRIAL_BALANCE = "trial_balance"
    """Debits and credits of a currency differ."""
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
    """A chain does not end where its head, or an exported head, says: its tail was cut."""


OF_THE_CACHE = frozenset(
    {
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
    """One difference: its kind, its subject, and the figures of both sides."""

    kind: BreakKind
    subject: str
    figures: dict[str, Any]


@dataclass(slots=True, frozen=True)
class ChainRange:
    """A partition's transactions `after < chain_seq <= up_to`, and the hash of the chain's head."""

    partition: int
    after: int
    up_to: int
    head_hash: bytes

    def pieces(self, size: int) -> Iterator["ChainRange"]:
        """The range in pieces of at most `size` transactions, in order."""
        for after in range(self.after, self.up_to, size):
            yield ChainRange(self.partition, after, min(after + size, self.up_to), self.head_hash)


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
