"""Submitting payments: check each against its accounts, reserve its funds in the cache, wait for the ledger if asked.

One payment takes one round trip to the cache, shared with the payments of other threads. What comes back is final
except for two cases, which `decide.py` retries: the account facts were old, or the cache did not have the account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from app.domain.authorizations import Authorization
from app.domain.origin import note_recorded, travelling_origin
from app.domain.payment import PaymentRequest, parse_payment_id
from app.domain.payment_checks import prepare
from app.domain.payment_refusals import is_held_back, posting_retries_exhausted
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import Refusal
from app.domain.reservations import Decision, ReserveCode, ReserveItem, ReserveReply
from app.domain.spans import span
from app.services.payments.coalescing import PAYMENTS_PER_CALL, CoalescedReserve
from app.services.payments.decide import Decider, NotReady
from app.services.payments.durable_wait import Answer, DurableWait
from app.services.payments.held_back import HeldBack
from app.services.payments.outcomes import Accepted, Outcome, Outcomes, PaymentFinder, posted_as

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.services.accounts.directory import DirectorySnapshot


Group = tuple[int, list[tuple[int, ReserveItem]]]
"""A partition, and the payments that one script call decides there, each with its index in the request."""


class Payments:
    """Submits payments, and waits until the ledger has them."""

    def __init__(
        self,
        cache: Cache,
        decider: Decider,
        outcomes: Outcomes,
        finder: PaymentFinder,
        durable_wait: DurableWait,
        wake: Callable[[], None],
        held_back: HeldBack,
    ) -> None:
        """`wake` wakes a drain; the cache says when one is needed."""
        self._cache = cache
        self._decider = decider
        self._outcomes = outcomes
        self._finder = finder
        self._durable_wait = durable_wait
        self._wake = wake
        self._held_back = held_back
        self.coalesced_reserve = CoalescedReserve(cache)

    # One payment

    def submit_one(self, request: PaymentRequest, actor: str) -> Outcome:
        """Decide one payment."""
        return self._decider.decide(lambda snapshot: self._decide_one(request, actor, snapshot))

    def _decide_one(self, request: PaymentRequest, actor: str, snapshot: DirectorySnapshot) -> Outcome:
        facts = snapshot.facts((request.source_account_id, *request.destination_ids), request.entities)
        intent = prepare(request, facts, actor)
        if isinstance(intent, Refusal):
            self._decider.require_current_facts([intent], snapshot.version)
            return self._outcomes.replay_or(request, facts, intent)
        intent.origin = travelling_origin()
        partition = self._cache.partition_of(intent.guarded_account_id)
        item = ReserveItem(intent, request.expected_version)
        with span("reserve", partition=partition):
            reply, elsewhere = self.coalesced_reserve.reserve(partition, item, snapshot.version)
        if not isinstance(reply, ReserveReply):
            raise NotReady(stale_partitions=(partition,))
        if reply.wake:
            self._wake()
        [decision] = reply.decisions
        if decision.code is ReserveCode.COLD:
            raise NotReady(cold_account_ids=(intent.guarded_account_id,))
        first_partition = elsewhere.get((intent.entity_id, intent.external_id))
        outcome = self._outcomes.of_decision(partition, item, decision, first_partition)
        if is_held_back(outcome):
            return self._held_back.answers([(item, decision)])[0]
        if decision.code is ReserveCode.RESERVED:
            note_recorded()  # whatever becomes of it, the drain records it
        return outcome

    # Many payments

    def submit(self, requests: Sequence[PaymentRequest], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide payments, each as if sent alone and in order per guarded account; answers in the requests' order.

        A dry run answers the same and writes nothing; later payments see what earlier ones would have left.
        """
        outcomes: dict[int, Outcome] = {}

        def attempt(snapshot: DirectorySnapshot) -> None:
            if dry_run:
                # What a dry run decides is known to its own call only, so each attempt decides all payments again.
                outcomes.clear()
            self._decide_undecided(requests, actor, outcomes, snapshot, dry_run=dry_run)

        if requests:
            self._decider.decide(attempt)
        return [outcomes[index] for index in range(len(requests))]

    def _decide_undecided(
        self,
        requests: Sequence[PaymentRequest],
        actor: str,
        outcomes: dict[int, Outcome],
        snapshot: DirectorySnapshot,
        *,
        dry_run: bool,
    ) -> None:
        """Decide the payments without an outcome in one round trip; NotReady if some are left without one."""
        undecided = {index: request for index, request in enumerate(requests) if index not in outcomes}
        facts = snapshot.facts(accounts_of(undecided.values()), entities_of(undecided.values()))
        prepared = {index: prepare(request, facts, actor) for index, request in undecided.items()}
        self._decider.require_current_facts(prepared.values(), snapshot.version)
        origin = travelling_origin()
        by_partition: dict[int, list[tuple[int, ReserveItem]]] = {}
        for index, intent in prepared.items():
            request = undecided[index]
            if isinstance(intent, Refusal):
                outcomes[index] = self._outcomes.replay_or(request, facts, intent)
                continue
            intent.origin = origin
            partition = self._cache.partition_of(intent.guarded_account_id)
            by_partition.setdefault(partition, []).append((index, ReserveItem(intent, request.expected_version)))
        # A dry run must be one call a partition, however long it takes: a second call would not see the first.
        per_call = len(undecided) if dry_run else PAYMENTS_PER_CALL
        self._reserve(list(_groups(by_partition, per_call)), outcomes, snapshot.version, dry_run=dry_run)

    def _reserve(
        self, groups: Sequence[Group], outcomes: dict[int, Outcome], directory_version: int, *, dry_run: bool
    ) -> None:
        """Reserve groups in one round trip, and note the outcome of each payment that was decided."""
        if not groups:
            return
        calls = [(partition, [item for _, item in members]) for partition, members in groups]
        reservations = self._cache.reservations
        if dry_run:
            replies = reservations.reserve_unclaimed(calls, directory_version, dry_run=True)
            elsewhere = reservations.claimed_elsewhere(calls)
        else:
            decided, elsewhere = reservations.reserve(calls, directory_version)
            replies = [*decided]
        if any(isinstance(reply, ReserveReply) and reply.wake for reply in replies):
            self._wake()
        stale: set[int] = set()
        cold: set[str] = set()
        held_back: dict[int, tuple[ReserveItem, Decision]] = {}
        for (partition, members), reply in zip(groups, replies, strict=True):
            if not isinstance(reply, ReserveReply):
                stale.add(partition)
                continue
            for (index, item), decision in zip(members, reply.decisions, strict=True):
                intent = item.intent
                if decision.code is ReserveCode.COLD:
                    cold.add(intent.guarded_account_id)
                    continue
                first_partition = elsewhere.get((intent.entity_id, intent.external_id))
                outcome = self._outcomes.of_decision(partition, item, decision, first_partition, dry_run=dry_run)
                if is_held_back(outcome):
                    held_back[index] = item, decision
                else:
                    outcomes[index] = outcome
        if held_back:
            answers = self._held_back.answers(list(held_back.values()), dry_run=dry_run)
            outcomes.update(zip(held_back, answers, strict=True))
        if stale or cold:
            raise NotReady(stale_partitions=stale, cold_account_ids=cold)

    # Waiting

    def wait(self, accepted: Accepted, seconds: float) -> Outcome:
        """Wait until the ledger has answered, or `seconds` are over; a pending payment stays acknowledged."""
        if accepted.posted:
            return accepted
        with span("wait for the ledger"):
            answer = self._durable_wait.wait(accepted.outbox_position, seconds)
        if answer is Answer.POSTED:
            return posted_as(accepted, accepted.outbox_position)
        if answer is Answer.EXHAUSTED:
            return posting_retries_exhausted(accepted.payment_id, "pending", accepted.intent.external_id)
        if answer is Answer.FULL:
            accepted.turned_away = True
            return accepted
        return self.look_up(accepted)

    def look_up(self, accepted: Accepted) -> Outcome:
        """What the ledger has made of an accepted payment so far."""
        found = self._finder.find(accepted.payment_id)
        if isinstance(found, PostedPayment):
            outbox_position = parse_payment_id(found.payment_id)
            return posted_as(accepted, outbox_position or accepted.outbox_position)
        if isinstance(found, Authorization):
            return posted_as(accepted, accepted.outbox_position)
        if isinstance(found, RejectedPayment):
            return self._outcomes.rejection(accepted.outbox_position, accepted.intent, replayed=accepted.replayed)
        return accepted


def accounts_of(requests: Iterable[PaymentRequest]) -> set[str]:
    """The accounts that some payments name."""
    wanted = set()
    for request in requests:
        wanted.add(request.source_account_id)
        wanted.update(request.destination_ids)
    return wanted


def entities_of(requests: Iterable[PaymentRequest]) -> frozenset[str] | None:
    """The entities that the caller of some payments, which is one, may act for; None is all of them."""
    return next((request.entities for request in requests), None)


def _groups(by_partition: dict[int, list[tuple[int, ReserveItem]]], per_call: int) -> Iterator[Group]:
    """The payments of each partition, up to `per_call` together."""
    for partition, members in by_partition.items():
        for start in range(0, len(members), per_call):
            yield partition, members[start : start + per_call]
