"""Why a line or an entry has found nothing on the other side: a suggestion, from what stands near it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from app.domain.match_items import OpenEntry, OpenLine, split_words, words_of


class Reason(StrEnum):
    """Suggested reasons, in the order in which they are looked for."""

    DUPLICATE = "duplicate"
    """The same stands there once more, a few days apart."""
    REVERSED = "reversed"
    """It takes back something, or is taken back."""
    AMOUNT_DIFFERS = "amount_differs"
    """The other side has the same reference with another amount."""
    FEE = "fee"
    """The bank or processor has charged something."""
    TIMING = "timing"
    """It is so late that the other side may yet have it."""
    MISSING_HERE = "missing_here"
    """The statement has it and the ledger has not."""
    MISSING_THERE = "missing_there"
    """The ledger has it and the statement has not."""


TIMING_DAYS = 3
"""Bank transfers of one side are on the other within two banking days, or after a weekend."""

TWIN_DAYS = 10
"""How far apart two equal lines may be to be taken for one that was booked twice."""

_FEE = re.compile(
    r"\b(?:fees?|charges?|commission|commissions|chrg|chg|nchg|srvchg|entgelte?|geb(?:ü|ue)hr(?:en)?|provision|"
    r"frais|kosten|poplatek|poplatky)\b",
    re.IGNORECASE,
)
_SHORTEST_ID = 5


@dataclass(slots=True, frozen=True)
class Unmatched:
    """A line or an entry without a match, and why it may be so; an amount that differs has both."""

    reason: Reason
    line: OpenLine | None = None
    entry: OpenEntry | None = None
    like: str = ""
    """What it is like or takes back, in words."""


@dataclass(slots=True)
class _Known:
    """What lines may be compared with."""

    twins: dict[tuple[object, ...], list[OpenLine]] = field(default_factory=dict)
    opposite: dict[tuple[str, int], OpenLine] = field(default_factory=dict)
    entries: dict[str, OpenEntry] = field(default_factory=dict)


def reasons_of_lines(
    unmatched: Sequence[OpenLine],
    lines: Iterable[OpenLine],
    entries: Iterable[OpenEntry],
    ledger_through: date,
) -> list[Unmatched]:
    """Why these lines have no entry, by all `lines` of the time and the `entries` that are open.

    `ledger_through` is the day up to which the ledger has had its time. An entry is named once.
    """
    known = _known(unmatched, lines, entries)
    found = []
    for line in unmatched:
        one = _reason(line, known, ledger_through)
        if one.entry is not None:
            for name in (one.entry.external_id, one.entry.payment_id):
                known.entries.pop(name, None)
        found.append(one)
    return found


def _known(unmatched: Sequence[OpenLine], lines: Iterable[OpenLine], entries: Iterable[OpenEntry]) -> _Known:
    known = _Known()
    amounts = {line.amount_minor for line in unmatched}
    for line in sorted(lines, key=lambda one: (one.day, one.statement_line_id)):
        if line.amount_minor in amounts:
            known.twins.setdefault(_sameness(line), []).append(line)
        if -line.amount_minor in amounts:
            for word in _ids_of(line):
                known.opposite.setdefault((word, line.amount_minor), line)
    for entry in entries:
        known.entries[entry.external_id] = known.entries[entry.payment_id] = entry
    return known


def _reason(line: OpenLine, known: _Known, ledger_through: date) -> Unmatched:
    twin = next((one for one in known.twins.get(_sameness(line), ()) if _is_twin(one, line)), None)
    if twin is not None:
        return Unmatched(Reason.DUPLICATE, line, like=_named(twin))
    opposites = (known.opposite.get((word, -line.amount_minor)) for word in _ids_of(line))
    opposite = next((one for one in opposites if one is not None and _comes_first(one, line)), None)
    if opposite is not None:
        return Unmatched(Reason.REVERSED, line, like=_named(opposite))
    for word in words_of(line):
        entry = known.entries.get(word)
        if entry is not None and entry.amount_minor != line.amount_minor and entry.amount_minor * line.amount_minor > 0:
            return Unmatched(Reason.AMOUNT_DIFFERS, line, entry)
    if line.amount_minor < 0 and _FEE.search(f"{line.kind} {line.text} {line.counterparty}".replace("-", " ")):
        return Unmatched(Reason.FEE, line)
    if line.day > ledger_through - timedelta(days=TIMING_DAYS):
        return Unmatched(Reason.TIMING, line)
    return Unmatched(Reason.MISSING_HERE, line)


def _sameness(line: OpenLine) -> tuple[object, ...]:
    """What two lines share that were booked twice: the amount, and the ids in it; or else its texts and its day."""
    ids = _ids_of(line)
    if ids:
        return line.amount_minor, *sorted(ids)
    return line.amount_minor, line.counterparty, line.text, line.day


def _ids_of(line: OpenLine) -> set[str]:
    """What looks like an id in a line; its own id does not count, for each line has another."""
    words = {line.reference} if line.reference else set()
    words |= {word for text in (line.reference, line.text) for word in split_words(text)}
    return {one for one in words if len(one) >= _SHORTEST_ID and any(map(str.isdigit, one))}


def _is_twin(other: OpenLine, line: OpenLine) -> bool:
    near = abs((other.day - line.day).days) <= TWIN_DAYS
    return (
        near and other.statement_line_id != line.statement_line_id and (not other.is_open or _comes_first(other, line))
    )


def _comes_first(other: OpenLine, line: OpenLine) -> bool:
    return (other.day, other.statement_line_id) < (line.day, line.statement_line_id)


def _named(line: OpenLine) -> str:
    return f"{line.reference or line.text or line.line_id} on {line.day}".strip()
