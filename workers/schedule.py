"""The scheduler: each second it wakes the drains if intents wait, and does what is due.

It expires authorizations itself, so that no queue delays the release of their funds.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event

from app.domain.errors import Fault
from app.services.proofs.cache_identity import CacheIdentityWatch
from app.settings import settings_from
from app.wakeup import DRAIN_QUEUE, MAINTENANCE_QUEUE, WakeUps
from app.wiring.cache import build_cache, build_identity
from app.wiring.verbs import build_expiry, build_push, build_recovery
from workers.process import configure_logging

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""The longest delay that a lost wake-up causes."""

RECONCILE_S = 10.0
RECONCILE_JOB = "workers.maintain.reconcile"


class Schedule:
    """What is done each second; it remembers when it last asked for a reconciliation."""

    def __init__(
        self,
        backlog: Callable[[], dict[int, int]],
        wakes: WakeUps,
        push: Callable[[], object],
        expire: Callable[[], object],
        recover: Callable[[], object],
        note_cache: Callable[[], object],
    ) -> None:
        """`note_cache` checks that the cache is the one it was, and has the ledger remember it."""
        self._backlog = backlog
        self._push = push
        self._expire = expire
        self._recover = recover
        self._note_cache = note_cache
        self._wakes = wakes
        self._reconciled_at = float("-inf")

    def run_once(self, now: float) -> None:
        """Expire authorizations, send the wake-ups due at `now` (monotonic seconds), and recover account changes.

        No wake-up is sent if one is waiting already. Account changes that a request could not push to the cache are
        pushed, and those that a killed process left half done are finished. The cache's identity comes first: all that
        follows relies on what the cache says.
        """
        self._note_cache()
        self._expire()
        if any(self._backlog().values()) and not self._wakes.waiting(DRAIN_QUEUE):
            self._wakes.drain()
        if now - self._reconciled_at >= RECONCILE_S and not self._wakes.waiting(MAINTENANCE_QUEUE):
            self._wakes.enqueue(MAINTENANCE_QUEUE, RECONCILE_JOB)
            self._reconciled_at = now
        self._push()
        self._recover()


def main() -> None:
    """Run the schedule each second until told to stop."""
    configure_logging()
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    settings = settings_from(os.environ)
    authorizations = build_expiry(settings)
    cache = build_cache(settings)
    identity = build_identity(settings, cache)
    schedule = Schedule(
        cache.outbox.backlog,
        WakeUps(settings.queue_url),
        build_push(settings).run_once,
        expire=lambda: authorizations.expire_due(datetime.now(UTC)),
        recover=build_recovery(settings).run_once,
        note_cache=CacheIdentityWatch(identity.note).run_once,
    )
    while not stopped.wait(SWEEP_S):
        try:
            schedule.run_once(time.monotonic())
        except Fault as fault:
            log.warning("sweep skipped: %s: %s", type(fault).__name__, fault)


if __name__ == "__main__":
    main()
