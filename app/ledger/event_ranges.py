"""What rows of the log name: which transactions and which other rows a reader looks at next, onwards or back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.events import LAST_SLOT, WHOLE, Cursor, after_all_of


@dataclass(slots=True, frozen=True)
class Range:
    """Transactions to read: `base` is the first of the position, `first` and `last` are those to read now."""

    position: int
    partition: int
    base: int
    first: int
    last: int


@dataclass(slots=True)
class Stretch:
    """A stretch of the log: ranges of chains, single rows, the cursor at its far end, and whether nothing is beyond."""

    ranges: list[Range] = field(default_factory=list)
    singles: list[Sequence[Any]] = field(default_factory=list)
    reached: Cursor | None = None
    is_end: bool = True


def stretch_after(found: Sequence[Sequence[Any]], after: Cursor, most: int) -> Stretch:
    """Up to `most` transactions and other rows after a cursor, of up to one row more of the log, in its order."""
    stretch, left = Stretch(), most
    for row in found[:most]:
        position, kind, partition, base, up_to = row[:5]
        if left <= 0:
            stretch.is_end = False
            return stretch
        if kind != "chain":
            stretch.singles.append(row)
            stretch.reached = after_all_of(position)
            left -= 1
            continue
        first = base
        if position == after.position:
            first += after.part + (after.slot == LAST_SLOT)
        last = min(up_to, first + left - 1)
        if first <= last:
            stretch.ranges.append(Range(position, partition, base, first, last))
            left -= last - first + 1
        stretch.reached = after_all_of(position) if last == up_to else Cursor(position, last - base, LAST_SLOT)
        stretch.is_end = last == up_to
    stretch.is_end = stretch.is_end and len(found) <= most
    return stretch


def stretch_before(found: Sequence[Sequence[Any]], end: Cursor, most: int) -> Stretch:
    """Up to `most` transactions and other rows before a cursor, of up to one row more of the log, backwards."""
    stretch, left = Stretch(), most
    for row in found[:most]:
        position, kind, partition, base, up_to = row[:5]
        if left <= 0:
            stretch.is_end = False
            return stretch
        if kind != "chain":
            stretch.singles.append(row)
            stretch.reached = after_all_of(position - 1)
            left -= 1
            continue
        last = up_to
        if position == end.position:
            last = min(up_to, base + end.part - (end.slot == 0 and end.part != WHOLE))
        first = max(base, last - left + 1)
        if first <= last:
            stretch.ranges.append(Range(position, partition, base, first, last))
            left -= last - first + 1
        stretch.reached = after_all_of(position - 1) if first == base else Cursor(position, first - base, 0)
        stretch.is_end = first == base
    stretch.is_end = stretch.is_end and len(found) <= most
    return stretch


def place_beside(picked: Range, *, backwards: bool) -> Cursor:
    """The cursor right after a transaction, or right before it."""
    part = picked.first - picked.base
    return Cursor(picked.position, part, 0 if backwards else LAST_SLOT)
