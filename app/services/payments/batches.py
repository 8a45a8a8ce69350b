"""Batches and streams of payments, and the brake that keeps large ones from filling the backlog.

API and cache decide batches faster than a drain posts them, on cores that the drain needs itself. Without a brake the
backlog grows to its limit, and then every payment is refused, even the single one of a checkout. So while the drain
lags, a large batch waits before it is decided; the wait grows with the backlog. What has been decided is never held
back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore

from app.domain.errors import (
    CacheUnavailable,
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    Fault,
    LedgerUnavailable,
    OutcomeUnknown,
)
from app.domain.payment import PaymentRequest
from app.domain.refusals import Refusal, RefusalCode
from app.services.payments.atomic_batches import AtomicBatches, RequestOrRefusal
from app.services.payments.outcomes import Outcome
from app.services.payments.submit import Payments

LARGE = 100
"""Payments in a batch that has to wait. For fewer, reading the backlog would cost more than they cost the drain."""

HARMLESS_BACKLOG = 5_000
"""Intents that may be pending: less than a second of a drain's work, in full rounds, the cheapest way to post."""

STEP_S = 0.1
"""How much longer a batch waits for every further HARMLESS_BACKLOG pending intents."""

LONGEST_S = 5.0
"""The longest wait of a batch. A client that gives up during it has moved nothing."""

MOST_WAITING = 8
"""Batches that wait in one process at once. Each holds a thread, and single payments need threads too."""


class Pacing:
    """The brake on large batches, one for each process."""

    def __init__(self, backlog: Callable[[], Mapping[int, int]], sleep: Callable[[float], None]) -> None:
        """`backlog` tells the number of pending intents, by partition."""
        self._backlog = backlog
        self._sleep = sleep
        self._places = BoundedSemaphore(MOST_WAITING)

    def give_way(self, payments: int) -> None:
        """Wait before so many `payments` are decided, for as long as the backlog demands."""
        if payments < LARGE or not self._places.acquire(blocking=False):
            return
        try:
            delay_s = wait_s(sum(self._backlog().values()))
            if delay_s:
                self._sleep(delay_s)
        finally:
            self._places.release()


def wait_s(backlog: int) -> float:
    """How long a large batch waits while so many intents are pending, in seconds."""
    return min(LONGEST_S, max(0, backlog - HARMLESS_BACKLOG) / HARMLESS_BACKLOG * STEP_S)


LARGEST_BATCH = 5_000
"""Payments in one request. If they must be one script call, they take the cache some tens of milliseconds."""

STREAMS = 8
"""Streams that one process serves at once; each holds a thread for as long as its client likes."""

PATIENCE_S = 30.0
"""How long a stream waits without progress while the drain lags or the cache does not answer."""

FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 0.5

TRANSIENT_FAULTS = (CacheUnavailable, OutcomeUnknown, LedgerUnavailable, ConcurrencyConflict, ConcurrencyRetryExhausted)
"""Faults after which the same payments may be sent again: one that was decided is replayed, and never decided twice."""


@dataclass(slots=True)
class Patience:
    """How much longer one stream may wait without progress."""

    left_s: float = PATIENCE_S
    delay_s: float = FIRST_DELAY_S

    def renew(self) -> None:
        """Start over with full patience, because something was decided."""
        self.left_s, self.delay_s = PATIENCE_S, FIRST_DELAY_S

    def next_delay_s(self) -> float | None:
        """How long to wait before the next try; None when the patience is used up."""
        if self.left_s <= 0:
            return None
        delay_s = min(self.delay_s, self.left_s)
        self.left_s -= delay_s
        self.delay_s = min(2 * self.delay_s, LONGEST_DELAY_S)
        return delay_s


class Batches:
    """Many payments in one request: each decided by itself, as a stream, or all or none."""

    def __init__(
        self, payments: Payments, atomic: AtomicBatches, pacing: Pacing, *, sleep: Callable[[float], None]
    ) -> None:
        self._payments = payments
        self._atomic = atomic
        self.pacing = pacing
        self._sleep = sleep
        self.streams = BoundedSemaphore(STREAMS)

    def submit(self, requests: Sequence[PaymentRequest], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide each payment by itself, as `Payments.submit` does, after the brake; a dry run does not wait."""
        if not dry_run:
            self.pacing.give_way(len(requests))
        return self._payments.submit(requests, actor, dry_run=dry_run)

    def submit_atomically(
        self, wanted: Sequence[RequestOrRefusal], actor: str, *, dry_run: bool = False
    ) -> list[Outcome]:
        """Decide payments all or none, as `AtomicBatches.submit` does, after the brake; a dry run does not wait."""
        if not dry_run:
            self.pacing.give_way(len(wanted))
        return self._atomic.submit(wanted, actor, dry_run=dry_run)

    # Streams

    def submit_patiently(
        self, requests: Sequence[PaymentRequest], actor: str, patience: Patience
    ) -> list[Outcome | Fault]:
        """Decide payments as `submit` does, but retry, within `patience`, what may succeed later.

        That is a payment that met a full backlog or a transient fault. Retried after a timeout, it may be answered as a
        replay of its own first try. When the patience is used up, the rest keep their refusals and faults.
        """
        outcomes: dict[int, Outcome | Fault] = {}
        open_indexes = list(range(len(requests)))
        while open_indexes:
            answers = self._try([requests[index] for index in open_indexes], actor)
            outcomes.update(zip(open_indexes, answers, strict=True))
            waiting = [index for index, answer in zip(open_indexes, answers, strict=True) if _is_transient(answer)]
            if len(waiting) < len(open_indexes):
                patience.renew()
            open_indexes = waiting
            if open_indexes:
                delay_s = patience.next_delay_s()
                if delay_s is None:
                    break
                self._sleep(delay_s)
        return [outcomes[index] for index in range(len(requests))]

    def _try(self, requests: Sequence[PaymentRequest], actor: str) -> Sequence[Outcome | Fault]:
        try:
            return self.submit(requests, actor)
        except TRANSIENT_FAULTS as fault:
            return [fault] * len(requests)


def _is_transient(outcome: Outcome | Fault) -> bool:
    if isinstance(outcome, Refusal):
        return outcome.code is RefusalCode.LEDGER_BACKLOGGED
    return isinstance(outcome, Fault)
