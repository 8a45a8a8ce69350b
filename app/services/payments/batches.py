"""Batches and streams of payments, and the brake that keeps large ones from filling the backlog.

API and cache decide batches faster than a drain posts them, on cores that the drain needs itself. Without a brake the
backlog grows to its limit, and then payments are refused, also the single ones of a checkout. So while the drain is
behind, a large batch waits before it is decided, the longer the more is pending. Nothing that has been decided is held
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
from app.services.payments.atomic_batches import AtomicBatches, Wanted
from app.services.payments.outcomes import Outcome
from app.services.payments.submit import Payments

LARGE = 100
"""Payments: for fewer, reading the backlog would cost more than they take from the drain."""

EASY = 5_000
"""Intents that may be pending without harm: under a second of a drain's work, in full rounds, which post cheapest."""

STEP_S = 0.1
"""How much longer a batch waits for each further EASY intents that are pending."""

LONGEST_S = 5.0
"""No batch waits longer; a client that gives up by then has moved nothing."""

PLACES = 8
"""Batches that wait in one process at once. Each holds a thread, and single payments need threads too."""


class Pacing:
    """The brake on large batches, one for each process."""

    def __init__(self, backlog: Callable[[], Mapping[int, int]], sleep: Callable[[float], None]) -> None:
        """`backlog` tells the number of pending intents, by partition."""
        self._backlog = backlog
        self._sleep = sleep
        self._places = BoundedSemaphore(PLACES)

    def give_way(self, payments: int) -> None:
        """Wait before `payments` of them are decided, for as long as the backlog asks for."""
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
    return min(LONGEST_S, max(0, backlog - EASY) / EASY * STEP_S)


LARGEST_BATCH = 5_000
"""Payments in one request: some tens of milliseconds of the cache's time where they must be one script call."""

STREAMS = 8
"""Streams that one process serves at once; each holds a thread for as long as its client likes."""

PATIENCE_S = 30.0
"""How long a stream waits without progress while the drain is behind or the cache does not answer."""

FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 0.5

PASSING = (CacheUnavailable, OutcomeUnknown, LedgerUnavailable, ConcurrencyConflict, ConcurrencyRetryExhausted)
"""Faults after which the same payments may be sent again: what was done answers as a replay, nothing is done twice."""


@dataclass(slots=True)
class Patience:
    """How much longer one stream may wait without progress."""

    left_s: float = PATIENCE_S
    delay_s: float = FIRST_DELAY_S

    def renew(self) -> None:
        """Begin again at the full patience: something was decided."""
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
    """Many payments in one request: each decided for itself, as a stream, or all or none."""

    def __init__(
        self, payments: Payments, atomic: AtomicBatches, pacing: Pacing, *, sleep: Callable[[float], None]
    ) -> None:
        self._payments = payments
        self._atomic = atomic
        self.pacing = pacing
        self._sleep = sleep
        self.streams = BoundedSemaphore(STREAMS)

    def submit(self, requests: Sequence[PaymentRequest], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide payments each for itself, as `Payments.submit`, after the brake; a dry run does not wait."""
        if not dry_run:
            self.pacing.give_way(len(requests))
        return self._payments.submit(requests, actor, dry_run=dry_run)

    def submit_atomically(self, wanted: Sequence[Wanted], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide payments all or none, as `AtomicBatches.submit`, after the brake; a dry run does not wait."""
        if not dry_run:
            self.pacing.give_way(len(wanted))
        return self._atomic.submit(wanted, actor, dry_run=dry_run)

    # Streams

    def submit_patiently(
        self, requests: Sequence[PaymentRequest], actor: str, patience: Patience
    ) -> list[Outcome | Fault]:
        """Decide payments as `submit`, but retry within `patience` what time alone may cure.

        That is a full backlog, or a fault that passes. A payment retried after a timeout may answer as a replay of its
        own first try. When the patience is used up, what is left answers with its refusal or fault.
        """
        outcomes: dict[int, Outcome | Fault] = {}
        open_indexes = list(range(len(requests)))
        while open_indexes:
            answers = self._try([requests[index] for index in open_indexes], actor)
            outcomes.update(zip(open_indexes, answers, strict=True))
            waiting = [index for index, answer in zip(open_indexes, answers, strict=True) if _may_pass(answer)]
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
        except PASSING as fault:
            return [fault] * len(requests)


def _may_pass(outcome: Outcome | Fault) -> bool:
    if isinstance(outcome, Refusal):
        return outcome.code is RefusalCode.LEDGER_BACKLOGGED
    return isinstance(outcome, Fault)
