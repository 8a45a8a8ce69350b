"""Pairing lines and entries that have the same key: which of them stand for each other, always the same ones.

`frozen`: up to this day the periods are signed off, so no match lies within them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from app.domain.match_items import FoundMatch, Key, OpenEntry, OpenLine
from app.domain.matching_rules import Cardinality, Rule

MOST_PAIRS = 1_000_000
"""A key that so many lines and entries share tells nothing apart; those that have it are passed over."""


def ones(
    rule: Rule, key: Key, lines: Sequence[OpenLine], entries: Sequence[OpenEntry], frozen: date | None
) -> Iterator[FoundMatch]:
    """One line and one entry each: the nearest amounts first, then the nearest days, then the first ones.

    By amount and day alone, a line that could have several entries is for a person to decide.
    """
    is_unclear = not rule.fields and len(lines) != len(entries)
    near = _near_in_amount if rule.tolerance_minor else _near_in_days
    gone_lines: set[int] = set()
    gone_entries: set[int] = set()
    for line, entry in near(rule, lines, entries, frozen):
        is_taken = line.statement_line_id in gone_lines or entry.entry_number in gone_entries
        if not is_taken:
            gone_lines.add(line.statement_line_id)
            gone_entries.add(entry.entry_number)
            yield FoundMatch(rule, [line], [entry], key, rule.suggests or is_unclear)


def _near_in_days(
    rule: Rule, lines: Sequence[OpenLine], entries: Sequence[OpenEntry], frozen: date | None
) -> Iterator[tuple[OpenLine, OpenEntry]]:
    """Pairs of equal amounts, the same day first; each entry is offered until somebody has taken it."""
    by_day: dict[int, deque[OpenEntry]] = {}
    for entry in entries:
        by_day.setdefault(entry.day.toordinal(), deque()).append(entry)
    last_frozen = 0 if frozen is None else frozen.toordinal()
    left = list(lines)
    for gap in range(rule.days + 1):
        still = []
        for line in left:
            day = line.day.toordinal()
            days = (day - gap, day + gap)
            queue = next((by_day[one] for one in days if by_day.get(one) and max(day, one) > last_frozen), None)
            if queue is None:
                still.append(line)
            else:
                yield line, queue.popleft()
        left = still


def _near_in_amount(
    rule: Rule, lines: Sequence[OpenLine], entries: Sequence[OpenEntry], frozen: date | None
) -> Iterator[tuple[OpenLine, OpenEntry]]:
    """Pairs that fit, the nearest amounts first."""
    ranked = sorted(
        (abs(line.amount_minor - entry.amount_minor), abs((line.day - entry.day).days), n, m)
        for n, line in enumerate(lines)
        for m, entry in enumerate(entries)
        if _fits(rule, line.amount_minor, entry.amount_minor)
        and abs((line.day - entry.day).days) <= rule.days
        and not _is_frozen(frozen, (line.day, entry.day))
    )
    for _, _, n, m in ranked:
        yield lines[n], entries[m]


def _one_to_many(
    rule: Rule, key: Key, lines: Sequence[OpenLine], entries: Sequence[OpenEntry], frozen: date | None
) -> Iterator[FoundMatch]:
    """One line and all entries with its key that are near it, where they add up to it."""
    gone: set[int] = set()
    for line in lines:
        near = [one for one in entries if one.entry_number not in gone and abs((one.day - line.day).days) <= rule.days]
        is_frozen = _is_frozen(frozen, [line.day, *(one.day for one in near)])
        if near and not is_frozen and _fits(rule, line.amount_minor, sum(one.amount_minor for one in near)):
            gone.update(one.entry_number for one in near)
            yield FoundMatch(rule, [line], near, key, rule.suggests)


def _many_to_one(
    rule: Rule, key: Key, lines: Sequence[OpenLine], entries: Sequence[OpenEntry], frozen: date | None
) -> Iterator[FoundMatch]:
    """All lines with the key of one entry that are near it, where they add up to it."""
    gone: set[int] = set()
    for entry in entries:
        near = [
            one for one in lines if one.statement_line_id not in gone and abs((one.day - entry.day).days) <= rule.days
        ]
        is_frozen = _is_frozen(frozen, [entry.day, *(one.day for one in near)])
        if near and not is_frozen and _fits(rule, sum(one.amount_minor for one in near), entry.amount_minor):
            gone.update(one.statement_line_id for one in near)
            yield FoundMatch(rule, near, [entry], key, rule.suggests)


PAIRINGS = {
    Cardinality.ONE_TO_ONE: ones,
    Cardinality.ONE_TO_MANY: _one_to_many,
    Cardinality.MANY_TO_ONE: _many_to_one,
}


def _fits(rule: Rule, lines_minor: int, entries_minor: int) -> bool:
    """Whether two amounts may stand for each other: both in or both out, and no further apart than the rule allows."""
    return lines_minor * entries_minor > 0 and abs(lines_minor - entries_minor) <= rule.tolerance_minor


def _is_frozen(frozen: date | None, days: Iterable[date]) -> bool:
    return frozen is not None and max(days) <= frozen
