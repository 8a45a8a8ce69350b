"""The drain worker: posts the intents of the outbox to the ledger, and settles them in the cache.

A job of RQ lasts as long as there is work. It takes turns, which keep other drains away, and each turn has many rounds.

Three things shape a job, because a round costs nearly the same for one payment as for fifty, and a wake-up through RQ
costs more than some idle rounds. A drain lingers when the outbox is empty. It stays while another drain is at work, so
that it can take over at once. And it pauses after small rounds, so that payments gather for the next one.
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
"""How long an idle job stays, instead of ending and being woken again."""

LONGEST_S = 20.0
"""After this a job ends even under load, well before RQ's timeout, and asks for the next one."""

TURN_S = 1.0
"""How long one drain keeps the others away at a time: long enough that taking the locks again costs next to nothing,
and short for a journal that waits until the drains finish their turns."""

OTHER_DRAIN_CHECK_S = 0.2
"""How often a drain checks whether another is still at work. Each check tries as many locks as there are partitions."""

GATHER_PAUSE_S = 0.016
"""The pause after a small round. It is long enough for some payments to gather, and short enough for each to be in the
ledger within sixty milliseconds."""

IDLE_PAUSE_S = 0.01
"""The pause after a round that found nothing."""

AWAITED_PAUSE_S = 0.008
"""The pause after a round that somebody waited for. The callers that it answered may pay again, and the next round
should find all their payments."""

BUSY_ROUND = 200
"""Payments in one round after which there is no pause."""

SWITCH_S = 0.0003
"""How soon the planning thread yields to one that has got an answer from the ledger or the cache and only has to send
the next piece. With Python's default of five milliseconds, some ten answers a round wait for a tenth of its time."""

MARK_RENEWAL_S = 0.3
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
        drain.run_once()  # for intents that came between the last round and the end of the mark
    if job.is_over:
        _wakes().drain()  # there may be work left, and payments that meet a backlog wake no drain


class DrainJob:
    """One job: it knows when it began, when it last had work, and when it last renewed its mark."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._began = self._worked = time.monotonic()
        self._marked = float("-inf")

    @property
    def has_drained(self) -> bool:
        """Whether it has had a turn, instead of only waiting while another drain was at work."""
        return self._marked > float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether its time is up."""
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
                self._worked = time.monotonic()  # waiting costs less than ending and being woken again
                time.sleep(OTHER_DRAIN_CHECK_S)

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
        if now - self._marked > MARK_RENEWAL_S:
            self._drain.cache.outbox.mark_awake()
            self._marked = now


def _pause_s(report: DrainReport) -> float:
    """How long to pause after a round."""
    if report.settled >= BUSY_ROUND:
        return 0.0
    if report.awaited:
        return AWAITED_PAUSE_S
    return GATHER_PAUSE_S if report.settled else IDLE_PAUSE_S


if __name__ == "__main__":
    tune_drain_collection()
    sys.setswitchinterval(SWITCH_S)
    work(DRAIN_QUEUE)
