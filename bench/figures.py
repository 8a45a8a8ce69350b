"""What is measured: rounds of a contestant in a scenario, and the figure that they add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.load.histogram import Histogram

REQUESTS = "requests/s"
"""The unit of most figures: the more the better."""

TICK_MS = 100
"""Resolution of the plots of throughput over time."""

QUANTILES = (50, 90, 99, 99.9)


@dataclass
class Round:
    """One run of one contestant. `problems` is what the audit of its ledger found: the figure then does not count."""

    rate: float
    histogram: Histogram = field(default_factory=Histogram)
    ticks: list[int] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Figure:
    """All rounds of one contestant in one setting of a scenario."""

    scenario: str
    contestant: str
    connections: int
    unit: str = REQUESTS
    rounds: list[Round] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Why the figure does not count; empty for one that does."""
        return [problem for one in self.rounds for problem in one.problems]

    @property
    def is_valid(self) -> bool:
        """Whether there is a figure and the ledger was right after every round."""
        return bool(self.rounds) and not self.problems

    @property
    def rate(self) -> float | None:
        """The median over the rounds; None where it does not count."""
        return median(one.rate for one in self.rounds) if self.is_valid else None

    @property
    def histogram(self) -> Histogram:
        """The latencies of all rounds."""
        return Histogram.merged(one.histogram for one in self.rounds)

    def extra(self, name: str) -> float | None:
        """The median of a further figure; None where it does not count or was not measured."""
        found = [one.extra[name] for one in self.rounds if name in one.extra]
        return median(found) if found and self.is_valid else None

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the rounds, once each."""
        return list(dict.fromkeys(note for one in self.rounds for note in one.notes))

    def document(self) -> dict[str, Any]:
        """For the JSON file. What does not count is told with its reason and without its figures."""
        histogram = self.histogram
        shared = {
            "scenario": self.scenario,
            "contestant": self.contestant,
            "connections": self.connections,
            "unit": self.unit,
            "valid": self.is_valid,
            "problems": self.problems,
            "notes": self.notes,
        }
        if not self.is_valid:
            return shared
        return shared | {
            "median_rate": self.rate,
            "rates": [one.rate for one in self.rounds],
            "latency_ms": {f"p{q:g}": histogram.percentile(q) for q in QUANTILES} if histogram.total else {},
            "histogram_ms": [[upper, count] for upper, count in histogram.bars()],
            "ticks": [one.ticks for one in self.rounds],
            "extra": {name: self.extra(name) for one in self.rounds for name in one.extra},
        }


class Figures:
    """The figures of a run, by scenario, contestant and connections."""

    def __init__(self) -> None:
        self.all: list[Figure] = []

    def add(self, scenario: str, contestant: str, connections: int, one: Round, unit: str = REQUESTS) -> None:
        """Adds a round."""
        figure = self.find(scenario, contestant, connections)
        if figure is None:
            figure = Figure(scenario, contestant, connections, unit)
            self.all.append(figure)
        figure.rounds.append(one)

    def find(self, scenario: str, contestant: str, connections: int | None = None) -> Figure | None:
        """The figure, or None."""
        for figure in self.all:
            if (figure.scenario, figure.contestant) == (scenario, contestant) and connections in (
                None,
                figure.connections,
            ):
                return figure
        return None

    def rate(self, scenario: str, contestant: str, connections: int | None = None) -> float | None:
        """A median rate, or None."""
        figure = self.find(scenario, contestant, connections)
        return figure.rate if figure else None

    def scenarios(self) -> list[str]:
        """The names, in order."""
        return list(dict.fromkeys(figure.scenario for figure in self.all))


def ticks_of(moments_s: list[float]) -> list[int]:
    """Counts by tick since the first moment; moments in seconds."""
    if not moments_s:
        return []
    first = min(moments_s)
    counts = [0] * (int((max(moments_s) - first) * 1000 // TICK_MS) + 1)
    for moment in moments_s:
        counts[int((moment - first) * 1000 // TICK_MS)] += 1
    return counts


def percent_change(before: float, after: float) -> float:
    """By how much, in percent."""
    return 100.0 * (after - before) / before


def as_plain(mapping: Mapping[str, float]) -> str:
    """Figures in one line."""
    return ", ".join(f"{name} {value:g}" for name, value in mapping.items())
