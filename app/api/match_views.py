"""How matches, and what has none, are answered."""

from typing import Annotated, Any

from msgspec import Struct

from app.api.fields import Count, Moment, Total, one_of
from app.domain.match_items import OpenEntry, OpenLine
from app.domain.match_reasons import Reason as Why
from app.domain.match_records import MatchRecord, MatchState, OutsideState, UnmatchedItem
from app.domain.timestamps import rfc3339

STATES = [one.value for one in MatchState]


class MatchLine(Struct):
    """A line of a statement; minor units, money in is positive."""

    statement_line_id: str
    booked_on: str
    amount_minor: int
    reference: str
    counterparty: str
    text: str


class MatchEntry(Struct):
    """An entry of the ledger; minor units, a debit is positive."""

    entry_number: Count
    effective_on: str
    amount_minor: int
    external_id: str
    payment_id: str


class MatchBody(Struct):
    """A match: lines and entries that are the same movement.

    `figures` tell the rule as it was, the key, and the days between; of a match by hand, the reason. `settled_on` is
    the last day of both sides. `former_match_id` is the match that it takes the place of.
    """

    match_id: str
    state: Annotated[str, one_of(STATES)]
    rule: str
    figures: dict[str, Any]
    lines_minor: Total
    entries_minor: Total
    difference_minor: Total
    settled_on: str
    lines: list[MatchLine]
    entries: list[MatchEntry]
    former_match_id: str | None
    journal_id: str | None
    made_by: str
    made_at: Moment


class UnmatchedBody(Struct):
    """A line or an entry without a match, and why it may be so; one whose amount differs has both.

    `resembles` says what it repeats or takes back. State and owner are those of its break.
    """

    unmatched_item_id: str
    reason: Annotated[str, one_of([one.value for one in Why])]
    booked_on: str
    amount_minor: int
    other_minor: int | None
    resembles: str
    line: MatchLine | None
    entry: MatchEntry | None
    break_id: str | None
    state: Annotated[str, one_of([one.value for one in OutsideState])]
    owner: str | None
    first_seen_at: Moment


def match_body(one: MatchRecord) -> MatchBody:
    """A match as it is answered."""
    return MatchBody(
        match_id=str(one.match_id),
        state=one.state.value,
        rule=one.rule,
        figures=dict(one.figures),
        lines_minor=one.lines_minor,
        entries_minor=one.entries_minor,
        difference_minor=one.difference_minor,
        settled_on=one.settled_on.isoformat(),
        lines=[_line(line) for line in one.lines],
        entries=[_entry(entry) for entry in one.entries],
        former_match_id=None if one.former_match_id is None else str(one.former_match_id),
        journal_id=one.journal_id,
        made_by=one.made_by,
        made_at=rfc3339(one.made_at),
    )


def unmatched_body(one: UnmatchedItem) -> UnmatchedBody:
    """A line or an entry without a match as it is answered."""
    return UnmatchedBody(
        unmatched_item_id=str(one.unmatched_item_id),
        reason=one.reason,
        booked_on=one.booked_on.isoformat(),
        amount_minor=one.amount_minor,
        other_minor=one.other_minor,
        resembles=one.resembles,
        line=None if one.line is None else _line(one.line),
        entry=None if one.entry is None else _entry(one.entry),
        break_id=None if one.break_id is None else str(one.break_id),
        state=one.state.value,
        owner=one.owner,
        first_seen_at=rfc3339(one.first_seen_at),
    )


def _line(line: OpenLine) -> MatchLine:
    day = line.day.isoformat()
    return MatchLine(str(line.statement_line_id), day, line.amount_minor, line.reference, line.counterparty, line.text)


def _entry(entry: OpenEntry) -> MatchEntry:
    day = entry.day.isoformat()
    return MatchEntry(entry.entry_number, day, entry.amount_minor, entry.external_id, entry.payment_id)
