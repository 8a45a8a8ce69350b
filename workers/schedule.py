"""The scheduler: the clock. Each second it looks for intents that nobody is draining, and sends wake-ups.

What is due to the second it does itself: no queue stands between an authorization's time and its release.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event

from app.domain.errors import Fault
from app.settings import settings_from
from app.wakeup import DRAIN_QUEUE, MAINTENANCE_QUEUE, WakeUps
from app.wiring.cache import build_cache
from app.wiring.verbs import build_expiry, build_push, build_recovery
from workers.process import configure_logging

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""A lost wake-up costs at most this long."""

RECONCILE_S = 10.0
RECONCILE_JOB = "workers.maintain.reconcile"


class Schedule:
    """What is due, and when it was done last."""

    def __init__(
        self,
        backlog: Callable[[], dict[int, int]],
        wakes: WakeUps,
        push: Callable[[], object],
        expire: Callable[[], object],
        mend: Callable[[], object],
    ) -> None:
        self._backlog = backlog
        self._push = push
        self._expire = expire
        self._mend = mend
        self._wakes = wakes
        self._reconciled_at = float("-inf")

    def run_once(self, now: float) -> None:
        """Release what has expired, send the wake-ups due at `now` (seconds, monotonic), and see to changed accounts.

        One wake-up that waits already is enough. Changes are pushed where their makers could not, and mended where
        they broke off.
        """
        self._expire()
        if any(self._backlog().values()) and not self._wakes.waiting(DRAIN_QUEUE):
            self._wakes.drain()
        if now - self._reconciled_at >= RECONCILE_S and not self._wakes.waiting(MAINTENANCE_QUEUE):
            self._wakes.enqueue(MAINTENANCE_QUEUE, RECONCILE_JOB)
            self._reconciled_at = now
        self._push()
        self._mend()


def main() -> None:
    """Sweep each second until told to stop."""
    configure_logging()
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    settings = settings_from(os.environ)
    authorizations = build_expiry(settings)
    schedule = Schedule(
        build_cache(settings).outbox.backlog,
        WakeUps(settings.queue_url),
        build_push(settings).run_once,
        expire=lambda: authorizations.expire_due(datetime.now(UTC)),
        mend=build_recovery(settings).run_once,
    )
    while not stopped.wait(SWEEP_S):
        try:
            schedule.run_once(time.monotonic())
        except Fault as fault:
            log.warning("sweep skipped: %s: %s", type(fault).__name__, fault)


if __name__ == "__main__":
    main()
