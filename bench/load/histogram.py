"""Latencies as counts by value, exact to three significant digits: small to keep, easy to merge."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil, log10

EXACT_BELOW_US = 1_000
"""Shorter latencies are kept to the microsecond; longer ones to three digits."""


def rounded_us(microseconds: int) -> int:
    """The value under which a latency is counted; at most half a percent away from it."""
    if microseconds < EXACT_BELOW_US:
        return max(0, microseconds)
    step: int = 10 ** (int(log10(microseconds)) - 2)
    return round(microseconds / step) * step


@dataclass
class Histogram:
    """Counts by latency in microseconds."""

    counts: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of_seconds(cls, latencies: Iterable[float]) -> "Histogram":
        """Counts latencies given in seconds."""
        return cls(Counter(rounded_us(round(seconds * 1e6)) for seconds in latencies))

    @classmethod
    def merged(cls, parts: Iterable["Histogram"]) -> "Histogram":
        """All parts as one."""
        whole = cls()
        for part in parts:
            whole.counts.update(part.counts)
        return whole

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return self.counts.total()

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile in milliseconds: the smallest value that this share does not exceed."""
        if not self.counts:
            return None
        rank = max(1, ceil(self.total * percent / 100 - 1e-9))
        seen = 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= rank:
                return value / 1000
        raise AssertionError("a rank lies within the total")

    def bars(self, per_decade: int = 10) -> Iterator[tuple[float, int]]:
        """Upper bounds in milliseconds, evenly spaced on a logarithmic scale, and the counts below each."""
        if not self.counts:
            return
        by_bar: Counter[int] = Counter()
        for value, count in self.counts.items():
            by_bar[ceil(log10(max(value, 1)) * per_decade - 1e-9)] += count
        for bar in range(min(by_bar), max(by_bar) + 1):
            yield 10 ** (bar / per_decade) / 1000, by_bar[bar]
