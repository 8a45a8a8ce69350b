"""Payments: reserving, and waiting for the books."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.domain.authorizations import Authorization
from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.payment import PaymentRequest, parse_payment_id
from app.domain.payment_checks import prepare
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Failed, ReserveCode, ReserveItem, ReserveReply, Stale
from app.services.accounts.directory import AccountDirectory
from app.services.accounts.hydration import Balances
from app.services.payments.coalescing import PAYMENTS_PER_CALL, CoalescedReserve
from app.services.payments.durable_wait import Answer, DurableWait
from app.services.payments.outcomes import Accepted, Answering, posted_as, refuse_exhausted

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.accounts import LedgerAccounts
    from app.ledger.history import History
    from app.ledger.transactions import LedgerAuthorizations


PASSES = 6
"""A payment is decided in one pass; a cold account or a changed directory asks for another. More means a fault."""

REVOCABLE = frozenset(
    {RefusalCode.ACCOUNT_FROZEN, RefusalCode.TWO_GUARDED_ACCOUNTS, RefusalCode.BATCH_CROSSES_PARTITIONS}
)
"""What a change of an account can take back."""

ANY_PARTITION = 0
"""A change is pushed to all partitions together."""


class Payments(Answering):
    """The verbs of payments, over the cache and the books."""

    def __init__(
        self,
        cache: Cache,
        ledger: LedgerAccounts,
        history: History,
        authorizations: LedgerAuthorizations,
        directory: AccountDirectory,
        balances: Balances,
        waiting: DurableWait,
        wake: Callable[[], None],
    ) -> None:
        super().__init__(cache, history, authorizations)
        self._singles = CoalescedReserve(cache)
        self._ledger = ledger
        self.directory = directory
        self.balances = balances
        self.waiting = waiting
        self.wake = wake

    # Reserving

    def submit_one(self, request: PaymentRequest, actor: str) -> Accepted | Refusal:
        """Decide one payment, in a round trip that those who come at the same time share."""
        for _ in range(PASSES):
            snapshot = self.directory.snapshot()
            facts = snapshot.facts((request.source_account_id, *request.destination_ids))
            intent = prepare(request, facts, actor)
            if isinstance(intent, Refusal):
                if self.is_outdated([intent], snapshot.version):
                    continue
                return self.replay_or(request, facts, intent)
            partition = self._cache.partition_of(intent.guarded_account_id)
            item = ReserveItem(intent, request.expected_version)
            reply, elsewhere = self._singles.reserve(partition, item, snapshot.version)
            if not isinstance(reply, ReserveReply):
                self.reopen(partition)
                continue
            if reply.wake:
                self.wake()
            [decision] = reply.decisions
            if decision.code is ReserveCode.COLD:
                self.balances.hydrate([intent.guarded_account_id])
                continue
            return self.outcome(partition, item, decision, elsewhere.get((intent.entity_id, intent.external_id)))
        raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was moved")

    def submit(
        self, requests: Sequence[PaymentRequest], actor: str, *, dry_run: bool = False
    ) -> list[Accepted | Refusal]:
        """Decide payments, each as if sent alone and in order per guarded account; answers in the requests' order.

        A dry run answers the same and writes nothing; later payments see what earlier ones would have left.
        """
        if dry_run:
            return self._rehearse(requests, actor)
        outcomes: dict[int, Accepted | Refusal] = {}
        open_indexes = list(range(len(requests)))
        wake = False
        for _ in range(PASSES):
            if not open_indexes:
                break
            wake |= self._pass(requests, actor, open_indexes, outcomes)
            open_indexes = [index for index in open_indexes if index not in outcomes]
        if wake:
            self.wake()
        if open_indexes:
            raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was moved")
        return [outcomes[index] for index in range(len(requests))]

    def _rehearse(self, requests: Sequence[PaymentRequest], actor: str) -> list[Accepted | Refusal]:
        """A dry run: one pass that decides everything, tried again from the start while something is cold or stale."""
        indexes = range(len(requests))
        for _ in range(PASSES):
            outcomes: dict[int, Accepted | Refusal] = {}
            self._pass(requests, actor, indexes, outcomes, dry_run=True)
            if len(outcomes) == len(requests):
                return [outcomes[index] for index in indexes]
        raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was decided")

    def _pass(
        self,
        requests: Sequence[PaymentRequest],
        actor: str,
        indexes: Sequence[int],
        outcomes: dict[int, Accepted | Refusal],
        *,
        dry_run: bool = False,
    ) -> bool:
        """One round trip for all payments still open; returns whether a drain must be woken."""
        snapshot = self.directory.snapshot()
        facts = snapshot.facts(accounts_of([requests[index] for index in indexes]))
        by_partition: dict[int, list[tuple[int, ReserveItem]]] = {}
        intents = [prepare(requests[index], facts, actor) for index in indexes]
        if self.is_outdated(intents, snapshot.version):
            return False
        for index, intent in zip(indexes, intents, strict=True):
            request = requests[index]
            if isinstance(intent, Refusal):
                outcomes[index] = self.replay_or(request, facts, intent)
                continue
            partition = self._cache.partition_of(intent.guarded_account_id)
            by_partition.setdefault(partition, []).append((index, ReserveItem(intent, request.expected_version)))
        # What a dry run decides is known to that call only, so it must be one call a partition, however long it takes.
        per_call = len(indexes) if dry_run else PAYMENTS_PER_CALL
        groups = [
            (partition, items[start : start + per_call])
            for partition, items in by_partition.items()
            for start in range(0, len(items), per_call)
        ]
        if not groups:
            return False
        calls = [(partition, [item for _, item in items]) for partition, items in groups]
        replies: Sequence[ReserveReply | Failed | Stale]
        if dry_run:
            replies = self._cache.reservations.reserve_unclaimed(calls, snapshot.version, dry_run=True)
            elsewhere = self._cache.reservations.claimed_elsewhere(calls)
        else:
            replies, elsewhere = self._cache.reservations.reserve(calls, snapshot.version)
        wake = False
        cold: set[str] = set()
        for (partition, items), reply in zip(groups, replies, strict=True):
            if not isinstance(reply, ReserveReply):
                self.reopen(partition)
                continue
            wake |= reply.wake
            for (index, item), decision in zip(items, reply.decisions, strict=True):
                if decision.code is ReserveCode.COLD:
                    cold.add(item.intent.guarded_account_id)
                else:
                    first_partition = elsewhere.get((item.intent.entity_id, item.intent.external_id))
                    outcomes[index] = self.outcome(partition, item, decision, first_partition)
        if cold:
            self.balances.hydrate(sorted(cold))
        return wake

    def is_outdated(self, outcomes: Sequence[object], version: int) -> bool:
        """Whether something was refused by facts that may have changed since; then they are read anew.

        The script notices what was allowed by old facts. What they refuse never comes to it: without this look an
        account that was opened again would stay frozen for a process that only refuses.
        """
        if not any(isinstance(one, Refusal) and one.code in REVOCABLE for one in outcomes):
            return False
        latest = self._cache.accounts.directory_version(ANY_PARTITION)
        if latest is not None and latest <= version:
            return False
        self.reopen(ANY_PARTITION)
        return True

    def reopen(self, partition: int) -> None:
        """Make a partition ready, with a directory that is as new as it asks for."""
        snapshot = self.directory.refresh()
        self._cache.accounts.open(partition, snapshot.version, self._ledger.last_position(partition))

    # Waiting

    def wait(self, accepted: Accepted, seconds: float) -> Accepted | Refusal:
        """Wait until the books have answered, or `seconds` are over; a pending payment stays acknowledged."""
        if accepted.posted:
            return accepted
        answer = self.waiting.wait(accepted.outbox_position, seconds)
        if answer is Answer.POSTED:
            return posted_as(accepted, accepted.outbox_position)
        if answer is Answer.EXHAUSTED:
            return refuse_exhausted(accepted)
        if answer is Answer.FULL:
            accepted.turned_away = True
            return accepted
        return self._look_up(accepted)

    def _look_up(self, accepted: Accepted) -> Accepted | Refusal:
        found = self.find(accepted.payment_id)
        if isinstance(found, PostedPayment):
            outbox_position = parse_payment_id(found.payment_id)
            return posted_as(accepted, outbox_position or accepted.outbox_position)
        if isinstance(found, Authorization):
            return posted_as(accepted, accepted.outbox_position)
        if isinstance(found, RejectedPayment):
            return self.rejection(accepted.outbox_position, accepted.intent, replayed=accepted.replayed)
        return accepted


def accounts_of(requests: Sequence[PaymentRequest]) -> set[str]:
    """The accounts that some payments name."""
    wanted = set()
    for request in requests:
        wanted.add(request.source_account_id)
        wanted.update(request.destination_ids)
    return wanted
