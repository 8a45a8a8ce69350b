"""The drain worker: posts the intents of the outbox to the ledger, and settles them in the cache.

A job of RQ lasts as long as there is work. It takes turns, which keep other drains away, and each turn has many rounds.
"""

import logging
import sys
import time
from collections.abc import Sequence
from functools import cache

from app.domain.errors import Fault
from app.process_tuning import tune_drain_collection
from app.services.posting.drain import Drain
from app.services.posting.outbox import DrainReport
from app.wakeup import DRAIN_QUEUE, WakeUps
from app.wiring.workers import build_drain
from workers.process import settings, work

log = logging.getLogger(__name__)

LINGER_S = 0.5
"""How long an idle job stays: a wake-up through RQ costs more than some idle rounds."""

LONGEST_S = 20.0
"""After this a job ends even under load, well before RQ's timeout, and asks for the next one."""

TURN_S = 1.0
"""How long one drain keeps the others away. Taking the locks again costs next to nothing after this time. Nobody waits
longer for a drain that hangs without dying."""

STAND_BY_S = 0.2
"""How often a drain looks whether the one at work has gone. Each look takes as many locks as there are partitions."""

GATHER_PAUSE_S = 0.016
"""The pause after a round while payments come singly: a round costs nearly the same for one payment as for fifty. Long
enough for some to gather, short enough for a payment to be in the ledger well before sixty milliseconds are over."""

IDLE_PAUSE_S = 0.01
"""The pause after a round that found nothing."""

AWAITED_PAUSE_S = 0.008
"""The pause after a round that somebody waited for: the callers that it answered may pay again, and the next round
should find all of them."""

CROWD = 200
"""After a round with this many payments there is no pause."""

SWITCH_S = 0.0003
"""How soon the planning thread gives way to one that has an answer from the ledger or the cache, and only has to send
the next piece. After Python's five milliseconds instead, some ten answers a round waited for a tenth of its time."""

MARK_S = 0.3
"""How often a drain at work renews its mark in the cache; the mark lasts three times as long."""


@cache
def _drain() -> Drain:
    return build_drain(settings())


@cache
def _wakes() -> WakeUps:
    return WakeUps(settings().queue_url)


def drain() -> None:
    """Drain until the outbox has been empty for a while; a job of RQ."""
    try:
        _drain_until_idle(_drain())
    except Fault as fault:
        log.error("drain stopped, the sweep will try again: %s: %s", type(fault).__name__, fault)


def _drain_until_idle(drain: Drain) -> None:
    job = DrainJob(drain)
    job.run()
    if job.has_drained:
        drain.cache.outbox.mark_asleep()
        drain.run_once()  # for what came between the last round and the end of the mark
    if job.is_over:
        _wakes().drain()  # there may be work left, and whoever pays meanwhile sees a backlog and wakes nobody


class DrainJob:
    """One job: when it began, when it last had work, when it last renewed its mark."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._began = self._worked = time.monotonic()
        self._marked = float("-inf")

    @property
    def has_drained(self) -> bool:
        """Whether it had a turn, and did not only wait while another drain was at work."""
        return self._marked > float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether it has lasted its time."""
        return time.monotonic() - self._began >= LONGEST_S

    @property
    def _is_idle(self) -> bool:
        return time.monotonic() - self._worked >= LINGER_S

    def run(self) -> None:
        """Take turns until there is nothing to do or the time is up; wait while another drain is at work."""
        while not (self._is_idle or self.is_over):
            with self._drain.turn() as partitions:
                if partitions:
                    self._make_rounds(partitions)
            if not partitions:
                self._worked = time.monotonic()  # ending and being called again costs more than waiting
                time.sleep(STAND_BY_S)

    def _make_rounds(self, partitions: Sequence[int]) -> None:
        ends = time.monotonic() + TURN_S
        while time.monotonic() < ends and not self._is_idle:
            self._mark()
            report = self._drain.round(partitions)
            if report.settled:
                self._worked = time.monotonic()
            time.sleep(_pause_s(report))

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marked > MARK_S:
            self._drain.cache.outbox.mark_awake()
            self._marked = now


def _pause_s(report: DrainReport) -> float:
    """How long to pause after a round."""
    if report.settled >= CROWD:
        return 0.0
    if report.awaited:
        return AWAITED_PAUSE_S
    return GATHER_PAUSE_S if report.settled else IDLE_PAUSE_S


if __name__ == "__main__":
    tune_drain_collection()
    sys.setswitchinterval(SWITCH_S)
    work(DRAIN_QUEUE)
