"""The heat map of hot accounts: how often and how long postings waited for each other, by account and hour."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

OTHERS = "(others)"
"""Stands for the accounts of an hour beyond those that are told apart."""


class Heat(StrEnum):
    """What a heat map shows."""

    RETRIES = "retries"
    QUEUEING = "queueing"
    """Milliseconds."""


STEPS: Mapping[Heat, Sequence[int]] = {
    Heat.RETRIES: (0, 5, 15, 40, 100),
    Heat.QUEUEING: (0, 50, 250, 1_000, 5_000),
}
"""The highest value of each shade; the last shade has none."""


@dataclass(slots=True, frozen=True)
class ConflictHour:
    """What was counted for one account in one hour."""

    hour: datetime
    account_id: str
    retries: int = 0
    exhausted: int = 0
    queued_us: int = 0
    longest_us: int = 0

    def value(self, what: Heat) -> int:
        """Retries, or milliseconds of queueing."""
        return self.retries if what is Heat.RETRIES else round(self.queued_us / 1000)


def level_of(value: int, what: Heat) -> int:
    """The shade of a value, 0 to 5."""
    return sum(value > step for step in STEPS[what])


@dataclass(slots=True, frozen=True)
class HeatRow:
    """One account and its hours."""

    account_id: str
    cells: Sequence[ConflictHour]
    total: int


@dataclass(slots=True, frozen=True)
class HeatMap:
    """A day of hot accounts, those with most first; `further` accounts are left out."""

    what: Heat
    hours: Sequence[datetime]
    rows: Sequence[HeatRow]
    further: int
    counted: Sequence[ConflictHour] = field(default_factory=list)
    """Everything that was counted in these hours."""

    def sum_of(self, hour: datetime) -> int:
        """What the rows come to in an hour."""
        return sum(cell.value(self.what) for row in self.rows for cell in row.cells if cell.hour == hour)

    @property
    def total(self) -> int:
        """What all rows come to."""
        return sum(row.total for row in self.rows)

    @property
    def retries(self) -> int:
        """All retries of the day."""
        return sum(one.retries for one in self.counted)

    @property
    def given_up(self) -> Sequence[ConflictHour]:
        """Where retries were used up."""
        return [one for one in self.counted if one.exhausted]

    @property
    def longest(self) -> ConflictHour | None:
        """Where a posting waited longest; None if none did."""
        return max((one for one in self.counted if one.longest_us), key=lambda one: one.longest_us, default=None)


def heat_map(counted: Iterable[ConflictHour], what: Heat, hours: Sequence[datetime], most: int) -> HeatMap:
    """The map of the accounts with most, up to `most` of them."""
    known: dict[str, dict[datetime, ConflictHour]] = {}
    everything = list(counted)
    for one in everything:
        known.setdefault(one.account_id, {})[one.hour] = one
    rows = []
    for account_id, by_hour in known.items():
        cells = [by_hour.get(hour, ConflictHour(hour, account_id)) for hour in hours]
        rows.append(HeatRow(account_id, cells, sum(cell.value(what) for cell in cells)))
    rows.sort(key=lambda row: (-row.total, row.account_id))
    return HeatMap(what, hours, rows[:most], max(0, len(rows) - most), everything)
