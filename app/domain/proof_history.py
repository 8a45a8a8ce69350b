"""What the proofs have found so far, as values, and the one sentence that sums it up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.breaks import OF_THE_CACHE

BROKEN_OFF_AFTER = timedelta(minutes=30)
"""One statement over all entries of a large ledger takes minutes, and a run says nothing meanwhile."""


@dataclass(slots=True, frozen=True)
class ProofRun:
    """A reconciliation: what it has checked so far, and how many breaks it has found.

    `asked_by` is None for a run that was due. `expected` is what it set out to check; `heard_at` is when a run under
    way last said how far it is.
    """

    run_id: int
    mode: str
    started_at: datetime
    finished_at: datetime | None
    checked: Mapping[str, int]
    break_count: int
    asked_by: str | None = None
    expected: Mapping[str, int] = field(default_factory=dict)
    heard_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is under way."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()

    def is_broken_off(self, now: datetime) -> bool:
        """Whether it has not ended and has said nothing for so long that its process must be gone."""
        return self.finished_at is None and now - (self.heard_at or self.started_at) > BROKEN_OFF_AFTER

    @property
    def percent(self) -> int | None:
        """How much of its transactions a run has recomputed; None where that cannot be told."""
        expected = self.expected.get("transactions", 0)
        return min(100, 100 * self.checked.get("transactions", 0) // expected) if expected else None


@dataclass(slots=True, frozen=True)
class OpenBreak:
    """A break that nobody has settled yet. `run_id` is the last run that saw it."""

    break_id: int
    kind: str
    subject: str
    figures: Mapping[str, Any]
    state: str
    owner: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    run_id: int | None


class Verdict(StrEnum):
    """Whether the books are right, as far as is proved."""

    RIGHT = "right"
    CACHE_DIFFERS = "cache_differs"
    LEDGER_IN_DOUBT = "ledger_in_doubt"
    NOT_PROVED = "not_proved"


@dataclass(slots=True, frozen=True)
class Standing:
    """Where the proofs stand: the last finished runs, the one under way, and what is open."""

    last: ProofRun | None
    last_full: ProofRun | None
    under_way: ProofRun | None
    breaks: list[OpenBreak]
    """The oldest ones."""
    counts: Mapping[str, int]
    """How many are open, by kind."""
    first_seen_at: datetime | None

    @property
    def ledger_breaks(self) -> int:
        """How many open breaks are about the ledger itself."""
        return sum(count for kind, count in self.counts.items() if kind not in OF_THE_CACHE)

    @property
    def cache_breaks(self) -> int:
        """How many open breaks are about the cache alone."""
        return sum(count for kind, count in self.counts.items() if kind in OF_THE_CACHE)

    @property
    def verdict(self) -> Verdict:
        """The verdict. A break of the ledger outweighs everything, and an open break outlasts later runs."""
        if self.ledger_breaks:
            return Verdict.LEDGER_IN_DOUBT
        if self.cache_breaks:
            return Verdict.CACHE_DIFFERS
        return Verdict.NOT_PROVED if self.last is None else Verdict.RIGHT
