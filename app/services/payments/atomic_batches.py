"""Atomic batches: payments that are decided all or none, in one script call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.domain.origin import travelling_origin
from app.domain.payment import PaymentRequest
from app.domain.payment_checks import prepare
from app.domain.payment_refusals import (
    batch_crosses_partitions,
    insufficient_funds,
    is_held_back,
    linked_payment_failed,
)
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import EarlierClaims, Failed, ReserveCode, ReserveItem, Stale
from app.services.payments.decide import Decider, NotReady
from app.services.payments.held_back import HeldBack
from app.services.payments.outcomes import Accepted, Outcome, Outcomes
from app.services.payments.submit import accounts_of, entities_of

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.domain.accounts import AccountFacts
    from app.services.accounts.directory import DirectorySnapshot


RequestOrRefusal = PaymentRequest | Refusal
"""A payment of a batch, or why it could not be read."""

IndexedOutcome = tuple[int, Outcome]
"""Which payment of an atomic batch the cache did not reserve, and its answer: why, or what the ledger has of it."""


class AtomicBatches:
    """Decides atomic batches. A batch has its guarded accounts in one partition, where one script call decides it."""

    def __init__(
        self,
        cache: Cache,
        decider: Decider,
        outcomes: Outcomes,
        wake: Callable[[], None],
        held_back: HeldBack,
        *,
        new_group_id: Callable[[], str],
    ) -> None:
        self._cache = cache
        self._decider = decider
        self._outcomes = outcomes
        self._wake = wake
        self._held_back = held_back
        self._new_group_id = new_group_id

    def submit(self, wanted: Sequence[RequestOrRefusal], actor: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide payments all or none.

        If one fails nothing is written, not even a refusal: its external ids stay free, and the same batch may be
        sent again. The first that fails answers with its own refusal, the others with `linked_payment_failed`; the
        figure `failed_index` names it. A refusal among the `wanted` is a payment that could not even be read.
        """
        return self._decider.decide(lambda snapshot: self._attempt(wanted, actor, snapshot, dry_run=dry_run))

    def _attempt(
        self, wanted: Sequence[RequestOrRefusal], actor: str, snapshot: DirectorySnapshot, *, dry_run: bool
    ) -> list[Outcome]:
        requests = [one for one in wanted if isinstance(one, PaymentRequest)]
        prepared = self._prepare(wanted, snapshot.facts(accounts_of(requests), entities_of(requests)), actor)
        items = {index: one for index, one in enumerate(prepared) if isinstance(one, ReserveItem)}
        partitions = {self._cache.partition_of(item.intent.guarded_account_id) for item in items.values()}
        refused = _refused(prepared, partitions)
        if refused is not None:
            self._decider.require_current_facts(refused, snapshot.version)
            return refused
        outcomes: dict[int, Outcome] = {index: one for index, one in enumerate(prepared) if isinstance(one, Accepted)}
        if not items:
            return [outcomes[index] for index in range(len(wanted))]
        [partition] = partitions
        while items:
            decided = self._reserve(partition, list(items.values()), snapshot.version, dry_run=dry_run)
            if not isinstance(decided, tuple):
                outcomes.update(zip(items, decided, strict=True))
                break
            index = list(items)[decided[0]]
            if isinstance(decided[1], Refusal):
                return _linked_failure(len(wanted), index, decided[1])
            # The ledger has this payment: it is a repeat from before the idempotency window. The rest is decided again.
            outcomes[index] = decided[1]
            del items[index]
        return [outcomes[index] for index in range(len(wanted))]

    def _prepare(
        self, wanted: Sequence[RequestOrRefusal], facts: Mapping[str, AccountFacts], actor: str
    ) -> list[ReserveItem | Outcome]:
        """Each payment as an item to decide, its refusal, or its earlier answer if its account is barred by now."""
        group_id, origin = self._new_group_id(), travelling_origin()
        prepared: list[ReserveItem | Outcome] = []
        for request in wanted:
            if isinstance(request, Refusal):
                prepared.append(request)
                continue
            intent = prepare(request, facts, actor)
            if isinstance(intent, Refusal):
                prepared.append(self._outcomes.replay_or(request, facts, intent))
            else:
                linked = replace(intent, linked=group_id, origin=origin)
                prepared.append(ReserveItem(linked, request.expected_version))
        return prepared

    def _reserve(
        self, partition: int, items: Sequence[ReserveItem], directory_version: int, *, dry_run: bool
    ) -> list[Outcome] | IndexedOutcome:
        """Decide all payments in one script call."""
        groups = [(partition, items)]
        reservations = self._cache.reservations
        reused = self._reused_elsewhere(items, reservations.claimed_elsewhere(groups))
        if reused is not None:
            return reused
        [reply] = reservations.reserve_unclaimed(groups, directory_version, atomic=True, dry_run=dry_run)
        if isinstance(reply, Stale):
            raise NotReady(stale_partitions=(partition,))
        if isinstance(reply, Failed):
            return self._failure(partition, items, reply)
        if not dry_run:
            # Claimed afterwards, so that a failed batch leaves no trace. If another partition claims an id in between,
            # the ledger's unique key stops one of the two, and with it the whole batch.
            reservations.claim(groups)
            if reply.wake:
                self._wake()
        return [
            self._outcomes.of_decision(partition, item, decision, None, dry_run=dry_run)
            for item, decision in zip(items, reply.decisions, strict=True)
        ]

    def _reused_elsewhere(self, items: Sequence[ReserveItem], elsewhere: EarlierClaims) -> IndexedOutcome | None:
        """The first payment whose external id another partition has seen with other content."""
        for index, item in enumerate(items):
            first_partition = elsewhere.get((item.intent.entity_id, item.intent.external_id))
            if first_partition is not None:
                refusal = self._outcomes.reused_elsewhere(item.intent, first_partition)
                if refusal is not None:
                    return index, refusal
        return None

    def _failure(self, partition: int, items: Sequence[ReserveItem], failed: Failed) -> IndexedOutcome:
        item, decision = items[failed.index], failed.decision
        if decision.code is ReserveCode.COLD:
            raise NotReady(cold_account_ids={one.intent.guarded_account_id for one in items})
        outcome = self._outcomes.of_decision(partition, item, decision, None)
        if not isinstance(outcome, Refusal) or decision.funds is None:
            return failed.index, outcome
        if outcome.code is RefusalCode.INSUFFICIENT_FUNDS:
            outcome = insufficient_funds(
                item.intent.guarded_account_id,
                decision.funds.available_minor,
                item.intent.hold_minor,
                outcome.figures,
                moment=" at this point of the batch",
                advice="Nothing of the batch was recorded; it may be sent again.",
                is_held_back=is_held_back(outcome) and self._held_back.may_come_free([(item, decision)])[0],
            )
        return failed.index, outcome


def _linked_failure(count: int, failed_index: int, refusal: Refusal) -> list[Outcome]:
    """The answers of an atomic batch of `count` payments of which one failed."""
    outcomes: list[Outcome] = [linked_payment_failed(failed_index, refusal.code.value)] * count
    outcomes[failed_index] = replace(refusal, figures={**refusal.figures, "failed_index": failed_index})
    return outcomes


def _refused(prepared: Sequence[ReserveItem | Outcome], partitions: Collection[int]) -> list[Outcome] | None:
    """The answers to a batch that is refused before the script is called; None if the script must decide."""
    for index, one in enumerate(prepared):
        if isinstance(one, Refusal):
            return _linked_failure(len(prepared), index, one)
    if len(partitions) <= 1:
        return None
    return [batch_crosses_partitions()] * len(prepared)
