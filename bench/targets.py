"""The targets, what was measured, and whether that is enough. They are set for two shared cores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.figures import Figures
from bench.rivals import TITLES
from bench.scenarios import drain, growth, memory, script
from bench.scenarios.open_loop import CONNECTIONS as OPEN_LOOP_CONNECTIONS
from bench.scenarios.payments import MAIN_CONNECTIONS
from bench.scenarios.wait import CONNECTIONS as WAIT_CONNECTIONS

HOLDFAST = "Holdfast"
LOCK, PARSING = TITLES["for_update"], TITLES["parse_only"]


@dataclass(frozen=True)
class Verdict:
    """A target beside its measurement; `measured` None was not measured, or does not count."""

    text: str
    bound: float
    measured: float | None
    at_most: bool
    unit: str

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None where there is no figure."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


def verdicts(figures: Figures) -> list[Verdict]:
    """All targets whose scenarios were run."""
    return [one for one in _all(figures) if one is not None]


def _all(figures: Figures) -> Iterator[Verdict | None]:
    def ratio(scenario: str, ours: str, theirs: str, connections: int) -> float | None:
        return divided(figures.rate(scenario, ours, connections), figures.rate(scenario, theirs, connections))

    def extra(name: str) -> float | None:
        figure = figures.find("open_loop", HOLDFAST, OPEN_LOOP_CONNECTIONS)
        return figure.extra(name) if figure else None

    def percentile(percent: float) -> float | None:
        figure = figures.find("open_loop", HOLDFAST, OPEN_LOOP_CONNECTIONS)
        return figure.histogram.percentile(percent) if figure and figure.is_valid else None

    def target(
        scenario: str,
        text: str,
        bound: float,
        value: Callable[[], float | None],
        unit: str = "×",
        at_most: bool = False,
    ) -> Verdict | None:
        return Verdict(text, bound, value(), at_most, unit) if scenario in figures.scenarios() else None

    def record() -> float | None:
        return figures.rate("memory", memory.RECORD_KEY)

    at16 = MAIN_CONNECTIONS
    yield target(
        "uniform", "uniform accounts, 16 connections: ≥ 3 × (a)", 3, lambda: ratio("uniform", HOLDFAST, LOCK, at16)
    )
    yield target(
        "hot_source", "hot account, 16 connections: ≥ 6 × (a)", 6, lambda: ratio("hot_source", HOLDFAST, LOCK, at16)
    )
    yield target(
        "uniform",
        "uniform accounts, 16 connections: ≥ 0.5 × (e)",
        0.5,
        lambda: ratio("uniform", HOLDFAST, PARSING, at16),
    )
    yield target("open_loop", "reserve p50 at a third of saturation", 2, lambda: percentile(50), "ms", True)
    yield target("open_loop", "reserve p99 at a third of saturation", 8, lambda: percentile(99), "ms", True)
    yield target("open_loop", "from the 201 to posted, p99", 60, lambda: extra("posted_ms_p99"), "ms", True)
    yield target(
        "wait",
        "durable wait, 64 connections, hot account: ≥ 2 × (a)",
        2,
        lambda: ratio("wait", HOLDFAST, LOCK, WAIT_CONNECTIONS),
    )
    yield target(
        "batch", "batches end to end, sustained", 20_000, lambda: figures.rate("batch", HOLDFAST), "payments/s"
    )
    yield target(
        "batch",
        "batches end to end: ≥ 15 × (a)",
        15,
        lambda: divided(figures.rate("batch", HOLDFAST), figures.rate("uniform", LOCK, at16)),
    )
    yield target("drain", "drain alone: ≥ 0.6 × (f)", 0.6, lambda: ratio("drain", drain.ONE, drain.COPY, 0))
    yield target(
        "script", "reserve script, one payment a call", 10, lambda: figures.rate("script", script.SINGLE), "µs", True
    )
    yield target(
        "script", "reserve script, 100 payments a call", 10, lambda: figures.rate("script", script.BATCH), "µs", True
    )
    yield target("memory", "Redis, an idle account", 350, lambda: figures.rate("memory", memory.ACCOUNT), "bytes", True)
    yield target("memory", "Redis, an idempotency record without its claim", 160, record, "bytes", True)
    yield target(
        "growth", "throughput, large over small", 0.8, lambda: ratio("growth", growth.LARGE, growth.SMALL, at16)
    )
    yield target("growth", "full reconciliation, large", 90, lambda: last_full(figures), "s", True)
    yield target(
        "growth",
        "incremental reconciliation, 10,000 new payments",
        2,
        lambda: _starting(figures, "incremental"),
        "s",
        True,
    )


def divided(ours: float | None, theirs: float | None) -> float | None:
    """A ratio, where both figures count."""
    return ours / theirs if ours is not None and theirs else None


def last_full(figures: Figures) -> float | None:
    """Seconds of the full reconciliation at the largest size."""
    return _starting(figures, "full reconciliation")


def _starting(figures: Figures, beginning: str) -> float | None:
    found = [one for one in figures.all if one.scenario == "growth" and one.contestant.startswith(beginning)]
    return found[-1].rate if found else None
