"""Large batches give way while the books are behind.

API and cache decide batches faster than a drain posts them, on cores that it needs itself. Without a brake the backlog
grows to its limit, and then payments are refused, the single ones of a checkout too. So a batch that comes meanwhile
waits before it is decided, the longer the more is pending. Nothing is held back that has been decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from app.domain.accounts import AccountFacts
from app.domain.errors import (
    CacheUnavailable,
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    Fault,
    LedgerUnavailable,
    OutcomeUnknown,
)
from app.domain.payment import PaymentRequest
from app.domain.payment_checks import prepare
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Elsewhere, Failed, ReserveCode, ReserveItem, Stale
from app.services.payments.outcomes import Accepted
from app.services.payments.submit import PASSES, Payments, accounts_of

if TYPE_CHECKING:
    from app.cache.cache import Cache


LARGE = 100
"""Payments: with fewer, the look at the backlog would cost more than they take from the drain."""

EASY = 5_000
"""Intents that may wait without harm: less than a second of a drain's work, and full rounds, which post cheapest."""

STEP_S = 0.1
"""How much longer a batch waits for each further EASY intents that are pending."""

LONGEST_S = 5.0
"""No batch waits longer; a client that gives up by then has moved nothing."""

PLACES = 8
"""Batches that wait in one process at once. Each holds a thread, and single payments need threads too."""


class Pacing:
    """The brake of one process."""

    def __init__(self, backlog: Callable[[], Mapping[int, int]], sleep: Callable[[float], None]) -> None:
        """`backlog` tells the number of pending intents, by partition."""
        self._backlog = backlog
        self._sleep = sleep
        self._places = BoundedSemaphore(PLACES)

    def give_way(self, payments: int) -> None:
        """Wait, before so many payments are decided, for as long as the backlog asks for."""
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
"""How long a stream waits, without any progress, for books that are behind or a cache that does not answer."""

FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 0.5

PASSING = (CacheUnavailable, OutcomeUnknown, LedgerUnavailable, ConcurrencyConflict, ConcurrencyRetryExhausted)
"""Faults after which the same payments may be sent again: what was done is answered, nothing is done twice."""

Outcome = Accepted | Refusal


@dataclass(slots=True)
class Patience:
    """How much longer one stream may wait; progress renews it."""

    left_s: float = PATIENCE_S
    delay_s: float = FIRST_DELAY_S

    def renew(self) -> None:
        """Something was decided."""
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
    """What may be asked of many payments together that cannot be asked of each alone."""

    def __init__(
        self,
        payments: Payments,
        cache: Cache,
        pacing: Pacing,
        *,
        sleep: Callable[[float], None],
        new_group_id: Callable[[], str],
    ) -> None:
        self._payments = payments
        self._cache = cache
        self._pacing = pacing
        self._sleep = sleep
        self._new_group_id = new_group_id
        self.streams = BoundedSemaphore(STREAMS)

    # Each for itself

    def submit(self, requests: Sequence[PaymentRequest], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide payments as `Payments.submit`, after giving way to the books; a dry run does not wait."""
        if not dry_run:
            self._pacing.give_way(len(requests))
        return self._payments.submit(requests, actor, dry_run=dry_run)

    # Streams

    def submit_patiently(
        self, requests: Sequence[PaymentRequest], actor: str, patience: Patience
    ) -> list[Outcome | Fault]:
        """Decide payments as `Payments.submit`, but wait and try again, within `patience`, where time alone helps.

        That is where the books are behind or a fault passes. A payment tried again after a timeout may answer as a
        replay of its own first try. When the patience is used up, what is left answers with its refusal or fault.
        """
        outcomes: dict[int, Outcome | Fault] = {}
        open_indexes = list(range(len(requests)))
        while open_indexes:
            answers = self._tried([requests[index] for index in open_indexes], actor)
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

    def _tried(self, requests: Sequence[PaymentRequest], actor: str) -> Sequence[Outcome | Fault]:
        try:
            return self.submit(requests, actor)
        except PASSING as fault:
            return [fault] * len(requests)

    # All or nothing

    def submit_atomically(
        self, wanted: Sequence[PaymentRequest | Refusal], actor: str, *, dry_run: bool = False
    ) -> list[Outcome]:
        """Decide payments all or none, in one script call, which one guarded account's partition must be able to do.

        If one fails nothing is written, not even a refusal: its external ids stay free, and the same batch may be
        sent again. The first that fails answers with its own refusal, the others with `linked_payment_failed`; the
        figure `failed_index` names it. A refusal among the `wanted` is a payment that could not even be read.
        """
        if not dry_run:
            self._pacing.give_way(len(wanted))
        for _ in range(PASSES):
            outcomes = self._atomic_pass(wanted, actor, dry_run=dry_run)
            if outcomes is not None:
                return outcomes
        raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was moved")

    def _atomic_pass(
        self, wanted: Sequence[PaymentRequest | Refusal], actor: str, *, dry_run: bool
    ) -> list[Outcome] | None:
        """One try; None where it must be made again."""
        snapshot = self._payments.directory.snapshot()
        account_ids = accounts_of([one for one in wanted if isinstance(one, PaymentRequest)])
        prepared = self._prepare(wanted, snapshot.facts(account_ids), actor)
        items = [one for one in prepared if isinstance(one, ReserveItem)]
        partitions = {self._cache.partition_of(item.intent.guarded_account_id) for item in items}
        refused = _refused(prepared, partitions)
        if refused is not None:
            return None if self._payments.is_outdated(refused, snapshot.version) else refused
        indexes = [index for index, one in enumerate(prepared) if isinstance(one, ReserveItem)]
        outcomes: dict[int, Outcome] = {n: one for n, one in enumerate(prepared) if isinstance(one, Accepted)}
        for partition in partitions:
            decided = self._decide(partition, items, snapshot.version, dry_run=dry_run)
            if decided is None:
                return None
            if isinstance(decided, tuple):
                failed, refusal = decided
                return _linked_failure(len(wanted), indexes[failed], refusal)
            outcomes.update(zip(indexes, decided, strict=True))
        return [outcomes[index] for index in range(len(wanted))]

    def _prepare(
        self, wanted: Sequence[PaymentRequest | Refusal], facts: dict[str, AccountFacts], actor: str
    ) -> list[ReserveItem | Outcome]:
        """Each payment as an item to decide; a refusal where it fails already, and what a barred account accepted."""
        group_id = self._new_group_id()
        prepared: list[ReserveItem | Outcome] = []
        for request in wanted:
            if isinstance(request, Refusal):
                prepared.append(request)
                continue
            intent = prepare(request, facts, actor)
            if isinstance(intent, Refusal):
                prepared.append(self._payments.replay_or(request, facts, intent))
            else:
                prepared.append(ReserveItem(replace(intent, linked=group_id), request.expected_version))
        return prepared

    def _decide(
        self, partition: int, items: Sequence[ReserveItem], directory_version: int, *, dry_run: bool
    ) -> list[Outcome] | tuple[int, Refusal] | None:
        """All outcomes, or which item failed and why, or None where the call must be made again."""
        groups = [(partition, items)]
        reused = self._reused_elsewhere(items, self._cache.reservations.claimed_elsewhere(groups))
        if reused is not None:
            return reused
        [reply] = self._cache.reservations.reserve_unclaimed(groups, directory_version, atomic=True, dry_run=dry_run)
        if isinstance(reply, Stale):
            self._payments.reopen(partition)
            return None
        if isinstance(reply, Failed):
            return self._failed(partition, items, reply)
        if not dry_run:
            # Claimed afterwards, so that a failed batch leaves no trace. Who claims in between meets the unique key
            # of the books, which then refuse the batch as a whole.
            self._cache.reservations.claim(groups)
            if reply.wake:
                self._payments.wake()
        return [
            self._payments.outcome(partition, item, decision, None)
            for item, decision in zip(items, reply.decisions, strict=True)
        ]

    def _reused_elsewhere(self, items: Sequence[ReserveItem], elsewhere: Elsewhere) -> tuple[int, Refusal] | None:
        for index, item in enumerate(items):
            first_partition = elsewhere.get((item.intent.entity_id, item.intent.external_id))
            if first_partition is not None:
                refusal = self._payments.reused_elsewhere(item.intent, first_partition)
                if refusal is not None:
                    return index, refusal
        return None

    def _failed(self, partition: int, items: Sequence[ReserveItem], failed: Failed) -> tuple[int, Refusal] | None:
        """Which item failed and why; None after bringing cold accounts into the cache."""
        item, decision = items[failed.index], failed.decision
        if decision.code is ReserveCode.COLD:
            self._payments.balances.hydrate(sorted({one.intent.guarded_account_id for one in items}))
            return None
        refusal = self._payments.outcome(partition, item, decision, None)
        assert isinstance(refusal, Refusal)
        if decision.code is ReserveCode.INSUFFICIENT_FUNDS and decision.funds is not None:
            available_minor, account_id = decision.funds.available_minor, item.intent.guarded_account_id
            detail = (
                f"Account {account_id!r} has {available_minor} available at this point of the batch, the payment needs "
                f"{item.intent.hold_minor}. Nothing of the batch was recorded; it may be sent again."
            )
            refusal = replace(refusal, detail=detail)
        return failed.index, refusal


def _may_pass(outcome: Outcome | Fault) -> bool:
    if isinstance(outcome, Refusal):
        return outcome.code is RefusalCode.LEDGER_BACKLOGGED
    return isinstance(outcome, Fault)


def _linked_failure(count: int, failed_index: int, refusal: Refusal) -> list[Outcome]:
    """The answers of an atomic batch of `count` payments of which one failed."""
    named: dict[str, object] = {"failed_index": failed_index}
    linked = Refusal(
        RefusalCode.LINKED_PAYMENT_FAILED,
        f"Nothing was moved: payment {failed_index} of the atomic batch failed ({refusal.code.value}).",
        {**named, "failed_code": refusal.code.value},
    )
    outcomes: list[Outcome] = [linked] * count
    outcomes[failed_index] = replace(refusal, figures={**refusal.figures, **named})
    return outcomes


def _refused(prepared: Sequence[ReserveItem | Outcome], partitions: Collection[int]) -> list[Outcome] | None:
    """The answers of an atomic batch that never comes to a script; None of one that does."""
    for index, one in enumerate(prepared):
        if isinstance(one, Refusal):
            return _linked_failure(len(prepared), index, one)
    if len(partitions) <= 1:
        return None
    crossing = Refusal(
        RefusalCode.BATCH_CROSSES_PARTITIONS,
        "The guarded accounts of these payments lie in different partitions, so no single check can decide them all or "
        "none. Payments out of one account always lie together; several accounts can be moved at once by a journal.",
    )
    return [crossing] * len(prepared)
