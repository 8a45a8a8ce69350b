"""Puts load on a server and reports the outcome."""

from collections import Counter
from dataclasses import dataclass, field, replace

from bench.figures import Round, ticks_of
from bench.load import wrk
from bench.load.client import BROKEN, Sample
from bench.load.histogram import Histogram
from bench.load.process import Load, run_load
from bench.load.requests import BalanceSource, BatchSource, PaymentSource, Source

GOOD = (200, 201)


@dataclass
class Outcome:
    """What the clients know after a run: the round's figures, how long it was by the generator's clock, and what the
    ledger must hold."""

    round: Round
    seconds: float = 0.0
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    received_at: dict[tuple[int, int], float] = field(default_factory=dict)
    posted_at_once: int = 0
    first_refusal: bytes = b""


def saturate(
    address: tuple[str, int], source: Source, *, connections: int, seconds: float, own_generator: bool = False
) -> Outcome:
    """Closed loop."""
    simple = isinstance(source, BalanceSource) or type(source) is PaymentSource
    if simple and not own_generator and seconds >= 1 and wrk.is_available():
        assert isinstance(source, (PaymentSource, BalanceSource))
        return _of_wrk(wrk.run_wrk(address, source, connections=connections, seconds=seconds))
    return _of_samples(run_load([Load(address, source, connections, seconds)]), closed=True)


def at_rate(
    address: tuple[str, int], source: PaymentSource, *, connections: int, seconds: float, rate: float
) -> Outcome:
    """Open loop at `rate` requests a second, from two processes where that helps the clock: one below 3,000/s."""
    processes = 1 if rate < 3_000 else 2
    loads = [
        Load(address, replace(source, worker=worker), connections // processes, seconds, rate / processes)
        for worker in range(processes)
    ]
    outcome = _of_samples(run_load(loads), closed=False)
    outcome.round.extra["offered_rate"] = rate
    return outcome


def _of_wrk(result: wrk.WrkResult) -> Outcome:
    good = sum(result.statuses[status] for status in GOOD)
    one = Round(
        rate=good / result.seconds,
        histogram=result.histogram,
        ticks=ticks_of([moment / 1000 for moment in result.moments_ms]),
    )
    outcome = Outcome(
        one, result.seconds, set(result.acknowledged), result.statuses, result.broken, posted_at_once=result.posted
    )
    _note_bad(outcome)
    return outcome


def _of_samples(samples: list[Sample], *, closed: bool) -> Outcome:
    """The rate counts what was answered well inside the window; the audit counts everything."""
    statuses: Counter[int] = Counter()
    latencies, moments, lags = [], [], []
    outcome = Outcome(Round(0.0))
    in_time = 0
    # Where answers ask for a second request (authorize, capture), a payment counts when that one is answered.
    in_two_steps = any(any(sample.followed) for sample in samples)
    for worker, sample in enumerate(samples):
        outcome.first_refusal = outcome.first_refusal or sample.first_refusal
        for row, status in enumerate(sample.statuses):
            statuses[status] += 1
            received = sample.received[row]
            if status in GOOD and (sample.followed[row] or not in_two_steps):
                key = worker, sample.numbers[row]
                outcome.acknowledged.add(key)
                outcome.received_at[key] = received
                moments.append(received)
                in_time += received <= sample.ended
            started = sample.sent[row] if closed else sample.intended[row]
            latencies.append(received - started)
            lags.append(sample.sent[row] - sample.intended[row])
    outcome.seconds = max(sample.ended - sample.began for sample in samples)
    outcome.statuses, outcome.broken = statuses, statuses.pop(BROKEN, 0)
    outcome.round = Round(in_time / outcome.seconds, Histogram.of_seconds(latencies), ticks_of(moments))
    if not closed:
        lag = Histogram.of_seconds(lags).percentile(99)
        outcome.round.extra["send_lag_p99_ms"] = lag if lag is not None else 0.0
    _note_bad(outcome)
    return outcome


def _note_bad(outcome: Outcome) -> None:
    bad = {status: count for status, count in outcome.statuses.items() if status not in GOOD and count}
    if bad:
        listed = ", ".join(f"{count} × {status}" for status, count in sorted(bad.items()))
        first = f"; the first: {outcome.first_refusal.decode(errors='replace')}" if outcome.first_refusal else ""
        outcome.round.notes.append(f"other answers: {listed}{first}".replace("|", "/").replace("\n", " "))
    if outcome.broken:
        outcome.round.notes.append(f"{outcome.broken} requests without an answer")


def of_batches(outcome: Outcome, source: BatchSource) -> set[str]:
    """The external ids inside the batches that were answered well."""
    return {
        f"{source.run}-batch{number:08d}-{source.worker:02d}-{inner:08d}"
        for _, number in outcome.acknowledged
        for inner in range(source.size)
    }
