"""The drain worker: posts what waits in the outbox, and settles it."""

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
"""How long a drain stays when nothing comes: a wake-up through RQ costs more than some idle looks."""

LONGEST_S = 20.0
"""After this a job ends even under load, well before RQ's timeout, and asks for the next."""

TURN_S = 1.0
"""How long one drain keeps the others away: taking the locks anew costs next to nothing then, and a drain that hangs
without dying is the only one to wait for longer."""

STAND_BY_S = 0.2
"""How often a drain looks whether the one at work has gone. Each look takes as many locks as there are partitions."""

GATHER_S = 0.016
"""Between two rounds while payments come singly: a round costs nearly the same for one payment as for fifty. Long
enough for some to gather, and short enough for a payment to be in the books well before sixty milliseconds are over."""

LOOK_S = 0.01
"""The same while nothing comes."""

HURRY_S = 0.008
"""The same where somebody waited for the last round: those whom it has answered may pay again, and the next round
shall find all of them."""

CROWD = 200
"""A round with more payments than this is followed by the next one without a pause."""

SWITCH_S = 0.0003
"""How soon a thread that plans gives way to one that has heard from the books or the cache, and only has to send the
next piece. With Python's five milliseconds each of some ten answers a round waited that long: a tenth of the time."""

MARK_S = 0.3
"""How often the mark of a drain at work is renewed; it lasts three times as long."""


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
    job = _Job(drain)
    job.work()
    if job.was_at_work:
        drain.cache.outbox.mark_asleep()
        drain.run_once()  # what came after the last look and before the mark was gone
    if job.is_over:
        _wakes().drain()  # the time was up, not the work: who pays meanwhile sees a backlog and wakes nobody


class _Job:
    """The time of one job: when it began, when it last had work, when its mark was set."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._began = self._worked = time.monotonic()
        self._marked = float("-inf")

    @property
    def was_at_work(self) -> bool:
        """Whether it had a turn, and not only stood by while another drain was at work."""
        return self._marked > float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether it has lasted its time."""
        return time.monotonic() - self._began >= LONGEST_S

    @property
    def _is_idle(self) -> bool:
        return time.monotonic() - self._worked >= LINGER_S

    def work(self) -> None:
        """Take turns until there is nothing to do, or another drain does it, or the time is up."""
        while not (self._is_idle or self.is_over):
            with self._drain.turn() as partitions:
                if partitions:
                    self._make_rounds(partitions)
            if not partitions:
                self._worked = time.monotonic()  # while another is at work: to end and be called again costs more
                time.sleep(STAND_BY_S)

    def _make_rounds(self, partitions: Sequence[int]) -> None:
        ends = time.monotonic() + TURN_S
        while time.monotonic() < ends and not self._is_idle:
            self._mark()
            report = self._drain.round(partitions)
            if report.settled:
                self._worked = time.monotonic()
            time.sleep(_rest_s(report))

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marked > MARK_S:
            self._drain.cache.outbox.mark_awake()
            self._marked = now


def _rest_s(report: DrainReport) -> float:
    """How long to rest behind a round."""
    if report.settled >= CROWD:
        return 0.0
    if report.awaited:
        return HURRY_S
    return GATHER_S if report.settled else LOOK_S


if __name__ == "__main__":
    tune_drain_collection()
    sys.setswitchinterval(SWITCH_S)
    work(DRAIN_QUEUE)
