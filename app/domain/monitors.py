"""Balance monitors: a condition on an account's funds, and the events at which it began or ceased to hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.events import Event


class Measure(StrEnum):
    """What a monitor looks at, in minor units."""

    BALANCE = "balance"
    HELD = "held"
    AVAILABLE = "available"


class Comparison(StrEnum):
    """When its condition holds; at the threshold itself it does not."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(slots=True, frozen=True)
class NewMonitor:
    """A monitor to make."""

    account_id: str
    measure: Measure
    comparison: Comparison
    threshold_minor: int
    name: str = ""

    def holds_at(self, value_minor: int) -> bool:
        """Whether the condition holds at a value."""
        if self.comparison is Comparison.BELOW:
            return value_minor < self.threshold_minor
        return value_minor > self.threshold_minor


@dataclass(slots=True, frozen=True)
class Monitor:
    """A monitor; `entry_number` and `position` say up to where the events of its account were looked at."""

    monitor_id: str
    condition: NewMonitor
    is_met: bool
    entry_number: int
    position: int
    created_by: str
    created_at: datetime
    ended_at: datetime | None


@dataclass(slots=True, frozen=True)
class BalanceNews:
    """An account's funds as an event told them; `entry_number` is None where only what is held has changed."""

    position: int
    entry_number: int | None
    event: Event


@dataclass(slots=True, frozen=True)
class Crossing:
    """That a condition began to hold (`is_met`) or ceased to, and the event that made it so."""

    monitor_id: str
    is_met: bool
    value_minor: int
    event: Event


@dataclass(slots=True, frozen=True)
class Judged:
    """A monitor after the news: its crossings, and where it stands."""

    before: Monitor
    crossings: Sequence[Crossing]
    is_met: bool
    entry_number: int
    position: int


def judge(monitor: Monitor, news: Sequence[BalanceNews]) -> Judged:
    """Follow what an account's events tell, in order; there is one crossing each time that the condition turns."""
    is_met, entry_number, position = monitor.is_met, monitor.entry_number, monitor.position
    crossings: list[Crossing] = []
    for one in news:
        if one.entry_number is None:
            if one.position <= position:
                continue
            position = one.position
        elif one.entry_number <= entry_number:
            continue
        else:
            entry_number = one.entry_number
        value_minor = one.event.data[f"{monitor.condition.measure.value}_minor"]
        if monitor.condition.holds_at(value_minor) != is_met:
            is_met = not is_met
            crossings.append(Crossing(monitor.monitor_id, is_met, value_minor, one.event))
    return Judged(monitor, crossings, is_met, entry_number, position)
