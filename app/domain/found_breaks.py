"""Found breaks: what finds a difference says of it, so that it can be kept, listed and worked on like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind


class BreakSource(StrEnum):
    """What was compared."""

    INSIDE = "inside"
    """The cache with the ledger, or the ledger with itself."""
    OUTSIDE = "outside"
    """The ledger with a statement of a bank or a processor."""


DUE_OF_LEDGER = timedelta(hours=1)
DUE_OF_CACHE = timedelta(hours=4)
DUE_OF_LOSS = timedelta(days=1)
DUE_OUTSIDE = timedelta(days=3)
"""Banks and processors state most movements within three days."""


def due_within(source: BreakSource, kind: str) -> timedelta:
    """How soon a break of this kind must be settled. A ledger in doubt cannot wait."""
    if source is BreakSource.OUTSIDE:
        return DUE_OUTSIDE
    if kind == BreakKind.CACHE_LOST:
        return DUE_OF_LOSS
    return DUE_OF_CACHE if kind in OF_THE_CACHE else DUE_OF_LEDGER


class EvidenceKind(StrEnum):
    """What a break refers to."""

    ACCOUNT = "account"
    ENTRY = "entry"
    """An account and an entry number, with `#` between them."""
    TRANSACTION = "transaction"
    """A partition and a place in its chain, with `/` between them."""
    PAYMENT = "payment"
    STATEMENT = "statement"
    STATEMENT_LINE = "statement_line"


@dataclass(slots=True, frozen=True)
class EvidenceLink:
    """One thing that proves or explains a break."""

    kind: EvidenceKind
    id: str


@dataclass(slots=True, frozen=True)
class FoundBreak:
    """A difference to keep. Kind and subject tell it from every other one that is not settled.

    Amounts are in minor units: what the ledger says, and what the other side says; None where a side says nothing.
    Entity and currency are those of the account unless they are given. Without `due_at` the kind says when it is due.
    """

    source: BreakSource
    kind: str
    subject: str
    figures: Mapping[str, Any]
    account_id: str | None = None
    entity_id: str | None = None
    currency_code: str | None = None
    ledger_minor: int | None = None
    other_minor: int | None = None
    due_at: datetime | None = None
    evidence: Sequence[EvidenceLink] = ()


@dataclass(slots=True, frozen=True)
class OpenSubject:
    """What an open break inside is about, for a run that looks there again."""

    break_id: int
    kind: str
    subject: str
    account_id: str | None


_SIDES: Mapping[BreakKind, tuple[str, str]] = {
    # kind: the figure of the ledger, and that of the other side
    BreakKind.CACHE_BALANCE: ("ledger_balance_minor", "cache_balance_minor"),
    BreakKind.CACHE_AHEAD: ("ledger_balance_minor", "cache_balance_minor"),
    BreakKind.CACHE_FLOOR: ("ledger_floor_minor", "cache_floor_minor"),
    BreakKind.HELD_NOT_SUM: ("sum_of_holds_minor", "held_minor"),
    BreakKind.HOLD_WITHOUT_INTENT: ("authorized_minor", "held_minor"),
    BreakKind.AUTHORIZATION_WITHOUT_HOLD: ("authorized_minor", "held_minor"),
    BreakKind.INTENT_WITHOUT_HOLD: ("intended_minor", "held_minor"),
    BreakKind.BALANCE_NOT_SUM: ("entry_sum_minor", "balance_minor"),
    BreakKind.ENTRY_RUNNING_BALANCE: ("expected_minor", "balance_minor"),
    BreakKind.TRANSACTION_UNBALANCED: ("", "difference_minor"),
    BreakKind.TRIAL_BALANCE: ("", "difference_minor"),
}
"""An empty name is a side that must be 0. The ledger's side is what entries, intents and authorizations say."""

_NOTHING_IS_ZERO = frozenset({BreakKind.HOLD_WITHOUT_INTENT, BreakKind.AUTHORIZATION_WITHOUT_HOLD})
"""Where no hold, or no authorization, is one of nothing."""


def inside_break(found: Break) -> FoundBreak:
    """A break of a reconciliation, as it is kept."""
    ledger_minor, other_minor = _sides(found)
    entity_id, currency_code = None, None
    if found.kind is BreakKind.TRIAL_BALANCE:
        entity_id, _, currency_code = found.subject.rpartition("/")
    return FoundBreak(
        BreakSource.INSIDE,
        found.kind,
        found.subject,
        found.figures,
        found.account_id,
        entity_id,
        currency_code,
        ledger_minor,
        other_minor,
        evidence=_evidence(found),
    )


def _sides(found: Break) -> tuple[int | None, int | None]:
    names = _SIDES.get(found.kind)
    if names is None:
        return None, None
    if found.kind is BreakKind.BALANCE_NOT_SUM and "entry_sum_minor" not in found.figures:
        names = ("last_entry_balance_minor", "balance_minor")
    absent = 0 if found.kind in _NOTHING_IS_ZERO else None
    ours, theirs = (0 if not name else found.figures.get(name) for name in names)
    return absent if ours is None else ours, absent if theirs is None else theirs


_OF_ENTRIES = frozenset({BreakKind.ENTRY_RUNNING_BALANCE, BreakKind.ENTRY_GAP, BreakKind.ENTRY_MISMATCH})
_OF_TRANSACTIONS = frozenset({BreakKind.TRANSACTION_UNBALANCED, BreakKind.CHAIN_HASH, BreakKind.CHAIN_LINK})
_OF_HOLDS = frozenset({BreakKind.HOLD_WITHOUT_INTENT, BreakKind.AUTHORIZATION_WITHOUT_HOLD})


def _evidence(found: Break) -> tuple[EvidenceLink, ...]:
    links = [] if found.account_id is None else [EvidenceLink(EvidenceKind.ACCOUNT, found.account_id)]
    if found.kind in _OF_ENTRIES and "#" in found.subject:
        links.append(EvidenceLink(EvidenceKind.ENTRY, found.subject))
    elif found.kind in _OF_TRANSACTIONS:
        links.append(EvidenceLink(EvidenceKind.TRANSACTION, found.subject))
    elif found.kind in _OF_HOLDS:
        links.append(EvidenceLink(EvidenceKind.PAYMENT, found.subject.rpartition("#")[2]))
    elif found.kind is BreakKind.INTENT_WITHOUT_HOLD:
        links.append(EvidenceLink(EvidenceKind.PAYMENT, found.subject))
    named = found.figures.get("payment_id")
    return (*links, EvidenceLink(EvidenceKind.PAYMENT, named)) if named else tuple(links)
