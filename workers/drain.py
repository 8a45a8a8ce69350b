"""The drain worker: posts the intents of the outbox to the ledger, and settles them in the cache.

Its loop looks for intents by itself, every second. A job of RQ is a bell, which shortens that wait; without RQ's server
a payment is posted up to a second later, and nothing else changes. While there is work, the loop takes turns, which
keep other drains away, and each turn has many rounds. Another thread says every second that the drain is alive and how
its rounds go.
"""

import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread

from app.cache.notifications import Heartbeats
from app.domain.errors import Fault
from app.ledger.metrics import SETTLED_BY_OUTCOME
from app.logs import configure_logging
from app.process_tuning import tune_drain_collection
from app.services.posting.drain import Drain
from app.services.posting.outbox import DrainReport
from app.wakeup import DRAIN_QUEUE
from app.wiring.cache import build_cache
from app.wiring.tracing import start_tracing
from app.wiring.workers import build_drain
from workers.process import settings, work

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How often an idle drain looks for intents, and so the longest delay that a lost wake-up causes. It is also the pause
after a failed round."""

HEARTBEAT_S = 0.5
"""How often a drain says how it is. Readiness believes a drain that was heard within some seconds."""

LINGER_S = 0.5
"""How long an idle drain stays awake: a wake-up through RQ costs more than some idle rounds."""

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

STOP_S = 12.0
"""How long the loop may take to finish its round at a stop; the supervisor kills the process a little later."""

REPEATED_S = 10.0
"""How often a failure that lasts is logged again."""

bell = Event()


def drain() -> None:
    """Ring the bell of this process; a job of RQ. It cannot fail, so no failed job is ever left behind."""
    bell.set()


class DrainProgress:
    """How the rounds of a drain go, for its heartbeat and its log."""

    def __init__(self) -> None:
        self.failure = ""
        self._succeeded_at: float | None = None
        self._logged_at = float("-inf")

    @property
    def idle_s(self) -> float | None:
        """How long ago a round last succeeded; None if none has."""
        return None if self._succeeded_at is None else time.monotonic() - self._succeeded_at

    def succeeded(self) -> None:
        """Note a round that found the servers in order, whatever there was to post."""
        if self.failure:
            log.warning("draining again")
        self.failure = ""
        self._succeeded_at = time.monotonic()

    def failed(self, error: Exception) -> None:
        """Note a round that failed; a failure that repeats is logged now and then."""
        failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
        now = time.monotonic()
        if not self.failure or now - self._logged_at > REPEATED_S:
            log.error("round failed, it is tried again: %s", failure, exc_info=not isinstance(error, Fault))
            self._logged_at = now
        self.failure = failure


class DrainLoop:
    """Drains for as long as the process lives, whatever fails meanwhile."""

    def __init__(self, drain: Drain, progress: DrainProgress, bell: Event, stopped: Event) -> None:
        self._drain = drain
        self._progress = progress
        self._bell = bell
        self._stopped = stopped

    def run(self) -> None:
        """Look for intents and drain them until told to stop."""
        while not self._stopped.is_set():
            try:
                self.run_once()
            except Exception as error:
                self._progress.failed(error)
                self._stopped.wait(SWEEP_S)
            else:
                self._bell.wait(SWEEP_S)

    def run_once(self) -> None:
        """Drain until the outbox has been empty for a while, if there is anything in it."""
        self._bell.clear()
        if not any(self._drain.cache.outbox.backlog().values()):
            return
        job = DrainSpell(self._drain, self._progress, self._stopped)
        job.run()
        if job.has_drained:
            with suppress(Fault):
                self._drain.cache.outbox.mark_asleep()
            self._drain.run_once()  # for what came between the last round and the end of the mark


def beat(heartbeats: Heartbeats, progress: DrainProgress, stopped: Event) -> None:
    """Say how the drain is, until told to stop."""
    process = f"{platform.node()}:{os.getpid()}"
    while not stopped.is_set():
        with suppress(Fault):
            heartbeats.beat(process, progress.idle_s, progress.failure)
        stopped.wait(HEARTBEAT_S)


class DrainSpell:
    """One spell of draining: when it last had work, and when it last renewed its mark."""

    def __init__(self, drain: Drain, progress: DrainProgress | None = None, stopped: Event | None = None) -> None:
        self._drain = drain
        self._progress = progress or DrainProgress()
        self._stopped = stopped or Event()
        self._worked = time.monotonic()
        self._marked = float("-inf")

    @property
    def has_drained(self) -> bool:
        """Whether it has had a turn, instead of only waiting while another drain was at work."""
        return self._marked > float("-inf")

    @property
    def _is_over(self) -> bool:
        return self._stopped.is_set() or time.monotonic() - self._worked >= LINGER_S

    def run(self) -> None:
        """Take turns until there is nothing to do; wait while another drain is at work."""
        while not self._is_over:
            with self._drain.turn() as partitions:
                if partitions:
                    self._make_rounds(partitions)
            if not partitions:
                self._worked = time.monotonic()  # waiting costs less than ending and being woken again
                time.sleep(OTHER_DRAIN_CHECK_S)

    def _make_rounds(self, partitions: Sequence[int]) -> None:
        ends = time.monotonic() + TURN_S
        while time.monotonic() < ends and not self._is_over:
            self._mark()
            report = self._drain.round(partitions)
            self._progress.succeeded()
            _count(report)
            if report.settled:
                self._worked = time.monotonic()
            time.sleep(_pause_s(report))

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marked > MARK_RENEWAL_S:
            self._marked = now
            with suppress(Fault):  # a cache without memory for a mark needs the drain more than any other
                self._drain.cache.outbox.mark_awake()


def _count(report: DrainReport) -> None:
    """Count what a round has done, for `/metrics`."""
    for outcome, counter in SETTLED_BY_OUTCOME.items():
        if number := getattr(report, outcome):
            counter.inc(number)


def _pause_s(report: DrainReport) -> float:
    """How long to pause after a round."""
    if report.settled >= BUSY_ROUND:
        return 0.0
    if report.awaited:
        return AWAITED_PAUSE_S
    return GATHER_PAUSE_S if report.settled else IDLE_PAUSE_S


def main() -> None:
    """Drain until told to stop."""
    configure_logging("drain", settings().log_format)
    stop_tracing = start_tracing(settings(), "drain")
    stopped, progress = Event(), DrainProgress()
    loop = Thread(target=DrainLoop(build_drain(settings()), progress, bell, stopped).run, name="drain", daemon=True)
    heartbeats = build_cache(settings(), "heartbeat").heartbeats
    Thread(target=beat, args=(heartbeats, progress, stopped), name="heartbeat", daemon=True).start()
    loop.start()
    work(DRAIN_QUEUE, stopped)
    bell.set()
    loop.join(STOP_S)
    stop_tracing()


if __name__ == "__main__":
    from workers.drain import main as run  # RQ imports the job by this name: it must find the bell of this loop

    tune_drain_collection()
    sys.setswitchinterval(SWITCH_S)
    run()
