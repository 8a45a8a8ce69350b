"""Records of matching: which ledger account a statement's account is, runs, matches, and what has found none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.domain.match_items import OpenEntry, OpenLine
from app.domain.matching_rules import Rule, read_rules

BY_HAND = "By hand"
"""The rule of a match that a person has made."""


class MatchState(StrEnum):
    """What has become of a match."""

    SUGGESTED = "suggested"
    MATCHED = "matched"
    UNDONE = "undone"


class OutsideState(StrEnum):
    """How far the break of a line or an entry without a match has come."""

    OPEN = "open"
    INVESTIGATING = "investigating"
    ACCEPTED = "accepted"
    """It stays without one, and somebody answers for it."""
    RESOLVED = "resolved"


@dataclass(slots=True, frozen=True)
class StatementAccount:
    """An account of a bank or processor, the account of the ledger that it is, and the rules in force.

    Matching begins with `starts_on`; what was before is brought forward as one figure.
    """

    statement_account_id: int
    source_name: str
    account_ref: str
    currency_code: str
    version: int
    account_id: str
    starts_on: date
    raw_rules: Sequence[object]
    created_by: str
    created_at: datetime
    signed_through: date | None = None

    @property
    def first_open_day(self) -> date:
        """The first day that is not signed off."""
        return self.starts_on if self.signed_through is None else self.signed_through + timedelta(days=1)

    def rules(self) -> tuple[Rule, ...]:
        """The saved rules; raises InvalidRules."""
        return read_rules(self.raw_rules)


@dataclass(slots=True, frozen=True)
class NewSetup:
    """What to save for a statement's account; `rules` as JSON."""

    source_name: str
    account_ref: str
    currency_code: str
    account_id: str
    starts_on: date
    rules: Sequence[object]


@dataclass(slots=True)
class RunReport:
    """What a run has done; `by_rule` counts matches and suggestions by rule, `examples` are some of them in a trial."""

    match_run_id: int | None = None
    line_count: int = 0
    entry_count: int = 0
    matched: int = 0
    suggested: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)
    new_breaks: int = 0
    resolved_breaks: int = 0
    open_breaks: dict[str, int] = field(default_factory=dict)
    agreeing: int = 0
    """In a trial: matches that stand already, with the same lines and entries."""
    examples: list[Mapping[str, object]] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class MatchRecord:
    """A match in the ledger; minor units."""

    match_id: int
    statement_account_id: int
    rule: str
    figures: Mapping[str, object]
    lines_minor: int
    entries_minor: int
    settled_on: date
    state: MatchState
    former_match_id: int | None
    journal_id: str | None
    made_by: str
    made_at: datetime
    lines: Sequence[OpenLine] = ()
    entries: Sequence[OpenEntry] = ()

    @property
    def difference_minor(self) -> int:
        """Lines less entries."""
        return self.lines_minor - self.entries_minor


@dataclass(slots=True, frozen=True)
class MatchEvent:
    """What somebody has decided on a match."""

    action: str
    actor: str
    reason: str
    recorded_at: datetime


@dataclass(slots=True, frozen=True)
class MatchRun:
    """One run of the rules over what had no match."""

    match_run_id: int
    version: int
    line_count: int
    entry_count: int
    matched: int
    suggested: int
    covered_through: date | None
    run_by: str
    run_at: datetime


@dataclass(slots=True, frozen=True)
class UnmatchedItem:
    """A line or an entry without a match, with the suggested reason; minor units.

    One whose amount differs has both: `amount_minor` is the line's and `other_minor` the entry's. `resembles` says what
    it repeats or takes back. State and owner are those of its break.
    """

    unmatched_item_id: int
    statement_account_id: int
    reason: str
    booked_on: date
    amount_minor: int
    other_minor: int | None
    resembles: str
    first_seen_at: datetime
    break_id: int | None
    state: OutsideState
    owner: str | None
    line: OpenLine | None = None
    entry: OpenEntry | None = None


@dataclass(slots=True, frozen=True)
class NewMatch:
    """A match that a person makes; `journal_id` is the journal that it has posted."""

    statement_account_id: int
    line_ids: Sequence[int]
    entry_numbers: Sequence[int]
    reason: str
    rule: str = BY_HAND
    former_match_id: int | None = None
    journal_id: str | None = None
