"""The scheduler: each second it does what is due, and wakes the drains if intents wait.

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
from app.logs import configure_logging
from app.services.proofs.cache_identity import CacheIdentityWatch
from app.settings import settings_from
from app.wakeup import DRAIN_JOB, DRAIN_QUEUE, WakeUps
from app.wiring.cache import build_cache, build_identity
from app.wiring.services import build_audit_keeper, build_expiry, build_push, build_recovery

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How soon what is due is done."""

AUDIT_S = 3_600.0
"""How often the audit's months are looked after. They are made months ahead, and dropped a month at a time."""

RECONCILE_S = 10.0


class Schedule:
    """What is done each second, and when the last reconciliation was asked for.

    The duties do not depend on each other: one that fails is logged, and the others are done.
    """

    def __init__(
        self,
        backlog: Callable[[], dict[int, int]],
        wakes: WakeUps,
        push: Callable[[], object],
        expire: Callable[[], object],
        recover: Callable[[], object],
        note_cache: Callable[[], object],
        keep_audit: Callable[[], object] = lambda: None,
    ) -> None:
        """`note_cache` checks that the cache is the one it was, and has the ledger remember it.

        `keep_audit` makes the audit's coming months, and drops those that are past the retention.
        """
        self._backlog = backlog
        self._wakes = wakes
        self._duties = {
            "cache identity": note_cache,
            "expiry": expire,
            "push": push,
            "recovery": recover,
            "wake-up": self._wake,
        }
        self._reconciled_at = float("-inf")
        self._keep_audit = keep_audit
        self._audit_kept_at = float("-inf")

    def run_once(self, now: float) -> None:
        """Expire authorizations, push and recover account changes, and send the wake-ups due at `now` (seconds).

        The cache's identity comes first: the other duties rely on what the cache says. Account changes that a request
        could not push to the cache are pushed, and those that a killed process left half done are finished. Wake-ups
        come last, because the queues' server may keep them waiting.
        """
        for name, duty in self._duties.items():
            _attempt(name, duty)
        if now - self._reconciled_at >= RECONCILE_S:
            self._wakes.reconcile()
            self._reconciled_at = now
        if now - self._audit_kept_at >= AUDIT_S and _attempt("audit", self._keep_audit):
            self._audit_kept_at = now

    def _wake(self) -> None:
        if any(self._backlog().values()):
            self._wakes.enqueue_unless_waiting(DRAIN_QUEUE, DRAIN_JOB)


def _attempt(name: str, duty: Callable[[], object]) -> bool:
    """Do a duty; returns whether it was done."""
    try:
        duty()
        return True
    except Fault as fault:
        log.warning("%s skipped, the next sweep tries again: %s: %s", name, type(fault).__name__, fault)
    except Exception:
        log.exception("%s failed, the next sweep tries again", name)
    return False


def main() -> None:
    """Run the schedule each second until told to stop."""
    settings = settings_from(os.environ)
    configure_logging("schedule", settings.log_format)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    authorizations = build_expiry(settings)
    cache = build_cache(settings, "schedule")
    identity = build_identity(settings, cache)
    schedule = Schedule(
        cache.outbox.backlog,
        WakeUps(settings.queue_url),
        build_push(settings).run_once,
        expire=lambda: authorizations.expire_due(datetime.now(UTC)),
        recover=build_recovery(settings).run_once,
        note_cache=CacheIdentityWatch(identity.note).run_once,
        keep_audit=build_audit_keeper(settings).run_once,
    )
    while not stopped.wait(SWEEP_S):
        schedule.run_once(time.monotonic())


if __name__ == "__main__":
    main()
