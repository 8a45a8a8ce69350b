"""What becomes of a break: who looks after it, until when, why it is there, and how it ends.

A break is inside, where the cache and the ledger or two parts of the ledger differ, or outside, where the ledger and a
statement do. Both go the same way: open, investigating, then resolved or accepted. A settled break stays as it is; a
difference that is found again is a new break.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.breaks import OF_THE_CACHE, BreakKind
from app.domain.found_breaks import BreakSource, EvidenceLink
from app.domain.refusals import Refusal, RefusalCode


class BreakState(StrEnum):
    """How far a break has come."""

    OPEN = "open"
    INVESTIGATING = "investigating"
    RESOLVED = "resolved"
    """The difference is gone."""
    ACCEPTED = "accepted"
    """The difference stays, and somebody answers for it."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more happens to the break."""
        return self in SETTLED


UNSETTLED = (BreakState.OPEN, BreakState.INVESTIGATING)
"""The states of breaks that wait for somebody."""

SETTLED = (BreakState.RESOLVED, BreakState.ACCEPTED)
"""The states of breaks to which nothing more happens."""


class ReasonCode(StrEnum):
    """Why there was a difference, or how it ended."""

    CACHE_WRITTEN_BY_HAND = "cache_written_by_hand"
    CACHE_RESTORED = "cache_restored"
    """The cache was put back to an older copy."""
    LEDGER_CHANGED_BY_HAND = "ledger_changed_by_hand"
    LEDGER_RESTORED = "ledger_restored"
    DEFECT = "defect"
    """Holdfast itself is at fault."""
    TIMING = "timing"
    """The other side has it on another day."""
    FEE = "fee"
    EXCHANGE_RATE = "exchange_rate"
    DUPLICATE = "duplicate"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    WRONG_AMOUNT = "wrong_amount"
    REVERSED = "reversed"
    OTHER = "other"
    NO_LONGER_SEEN = "no_longer_seen"
    """A run looked again and found no difference."""
    HEALED = "healed"
    """The run that found it corrected it."""
    REPAIRED = "repaired"
    LOSS_ACCEPTED = "loss_accepted"
    MATCHED = "matched"
    """Statement and ledger were brought together."""


_OF_PEOPLE: Mapping[BreakSource, tuple[ReasonCode, ...]] = {
    BreakSource.INSIDE: (
        ReasonCode.CACHE_WRITTEN_BY_HAND,
        ReasonCode.CACHE_RESTORED,
        ReasonCode.LEDGER_CHANGED_BY_HAND,
        ReasonCode.LEDGER_RESTORED,
        ReasonCode.DEFECT,
        ReasonCode.OTHER,
    ),
    BreakSource.OUTSIDE: (
        ReasonCode.TIMING,
        ReasonCode.FEE,
        ReasonCode.EXCHANGE_RATE,
        ReasonCode.DUPLICATE,
        ReasonCode.MISSING_HERE,
        ReasonCode.MISSING_THERE,
        ReasonCode.WRONG_AMOUNT,
        ReasonCode.REVERSED,
        ReasonCode.OTHER,
    ),
}


def reasons_of(source: BreakSource) -> tuple[ReasonCode, ...]:
    """The reasons that people may give; the others are given by what settles a break by itself."""
    return _OF_PEOPLE[source]


# What people look for


@dataclass(slots=True, frozen=True)
class BreakFilter:
    """Which breaks to list; None is any. `states` are those of the breaks, `overdue_at` lists what was due before.

    An empty `owner` lists what nobody looks after.
    """

    source: BreakSource | None = None
    states: Sequence[BreakState] | None = None
    kind: str | None = None
    account_id: str | None = None
    entity_id: str | None = None
    owner: str | None = None
    overdue_at: datetime | None = None


AGES: tuple[timedelta, ...] = (timedelta(days=1), timedelta(days=3), timedelta(days=7))
"""Where the ages of the ageing report end: under one day, to three, to seven, and over."""


@dataclass(slots=True, frozen=True)
class AgeingLine:
    """The open breaks of one account in one currency; both are None for breaks that are about no account.

    `counts` are by age, as AGES has them and one more. `sum_minor` adds the differences without their sign.
    """

    source: BreakSource
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    counts: tuple[int, ...]
    overdue: int
    nobodys: int
    sum_minor: int
    oldest_at: datetime

    @property
    def total(self) -> int:
        """Breaks of any age."""
        return sum(self.counts)


@dataclass(slots=True, frozen=True)
class BreakCount:
    """How many breaks there are of a source, kind and state; how many are overdue, and when the oldest was found."""

    source: str
    kind: str
    state: str
    count: int
    overdue: int
    oldest_at: datetime


# What people change


class EventAction(StrEnum):
    """What an event of a break's history tells."""

    OPENED = "opened"
    CHANGED = "changed"
    COMMENTED = "commented"
    REPAIR_ASKED = "repair_asked"
    REPAIRED = "repaired"


@dataclass(slots=True, frozen=True)
class BreakEvent:
    """One event of a break's history, with owner, reason and due date as they were after it.

    `action` is None for events from before these were kept, which tell the state only.
    """

    event_id: int
    actor: str
    action: str | None
    state: str
    owner: str | None
    reason_code: str | None
    due_at: datetime | None
    note: str
    recorded_at: datetime


@dataclass(slots=True, frozen=True)
class BreakRecord:
    """A break as the ledger keeps it; amounts are in minor units, the runs are None for one from outside."""

    break_id: int
    source: BreakSource
    kind: str
    subject: str
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    ledger_minor: int | None
    other_minor: int | None
    figures: Mapping[str, Any]
    evidence: Sequence[EvidenceLink]
    state: BreakState
    owner: str | None
    reason_code: str | None
    due_at: datetime | None
    first_run_id: int | None
    last_run_id: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    settled_at: datetime | None

    @property
    def difference_minor(self) -> int | None:
        """The other side less the ledger; a side that says nothing counts as 0, unless neither says anything."""
        if self.ledger_minor is None and self.other_minor is None:
            return None
        return (self.other_minor or 0) - (self.ledger_minor or 0)

    @property
    def is_of_cache(self) -> bool:
        """Whether only the cache is wrong."""
        return self.kind in OF_THE_CACHE

    @property
    def is_repairable(self) -> bool:
        """Whether the cache can be rebuilt from the ledger to mend it."""
        is_of_account = self.account_id is not None and self.kind != BreakKind.CACHE_LOST
        return self.is_of_cache and is_of_account and not self.state.is_settled

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have been settled by now."""
        return self.due_at is not None and self.due_at < now and not self.state.is_settled


@dataclass(slots=True, frozen=True)
class BreakChange:
    """What somebody changes: `fields` of owner, reason_code, state and due_at; with a comment, or a comment alone."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    comment: str = ""


def refuse_break_change(current: BreakRecord, change: BreakChange) -> Refusal | None:
    """Why a change is refused; None if it may be made. Comments are always welcome."""
    if not change.fields:
        return None
    figures: dict[str, object] = {"break_id": str(current.break_id), "state": current.state.value}
    if current.state.is_settled:
        detail = f"Break {current.break_id} is {current.state}, for good; it takes comments only."
        return Refusal(RefusalCode.BREAK_SETTLED, detail, figures)
    reason_code = change.fields.get("reason_code", current.reason_code)
    if "reason_code" in change.fields and reason_code not in (None, *reasons_of(current.source)):
        known = ", ".join(reasons_of(current.source))
        detail = f"{reason_code!r} is not a reason for a break {current.source}; one of {known} is."
        return Refusal(RefusalCode.BREAK_INCOMPLETE, detail, figures | {"field": "reason_code"})
    state = change.fields.get("state", current.state)
    if state.is_settled and reason_code is None:
        detail = f"A break is {state} with a reason_code: {', '.join(reasons_of(current.source))}."
        return Refusal(RefusalCode.BREAK_INCOMPLETE, detail, figures | {"field": "reason_code"})
    if state.is_settled and not change.comment:
        detail = f"A break is {state} with a comment that says what was done or why it may stay."
        return Refusal(RefusalCode.BREAK_INCOMPLETE, detail, figures | {"field": "comment"})
    return None


def not_repairable(current: BreakRecord) -> Refusal:
    """A repair of what no rebuilding of the cache can mend."""
    detail = f"Break {current.break_id} cannot be repaired: only an open difference of an account in the cache can."
    return Refusal(RefusalCode.BREAK_NOT_REPAIRABLE, detail, {"break_id": str(current.break_id), "kind": current.kind})


def break_not_found(break_id: str) -> Refusal:
    """A break that does not exist."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no break {break_id!r}.", {"break_id": break_id})
