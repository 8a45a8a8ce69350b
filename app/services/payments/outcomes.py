"""What becomes of payments: accepted, replayed, refused by the cache, rejected by the ledger; and finding one later.

`Outcomes` turns each decision of `lua/reserve.lua` into the answer for the client, whether the payment came alone or in
a batch. `PaymentFinder` looks for a payment in the outbox, in the ledger and among the refusals.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.domain.accounts import AccountFacts
from app.domain.authorizations import Authorization, AuthorizationState, authorization_of
from app.domain.errors import CacheUnavailable, LedgerUnavailable, OutcomeUnknown
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Intent, Kind, OutboxPosition, PaymentRequest, parse_payment_id
from app.domain.payment_checks import prepare, refuse_reused
from app.domain.payment_refusals import (
    balance_out_of_range,
    insufficient_funds,
    ledger_backlogged,
    optimistic_lock_conflict,
    refused_for_funds,
    rejected_by_ledger,
)
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Decision, Funds, Record, RecordState, ReserveCode, ReserveItem

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.history import History
    from app.ledger.transactions import LedgerAuthorizations
    from app.services.proofs.cache_identity import AcknowledgedTail


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Accepted:
    """An acknowledged payment. `version` is the guarded account's version after the decision, if still known.

    With `is_dry_run` the payment does not exist: its outbox position is empty, and `funds` are what it would leave.
    """

    outbox_position: OutboxPosition
    intent: Intent
    version: int | None
    funds: Funds | None = None
    replayed: bool = False
    posted: bool = False
    is_dry_run: bool = False
    turned_away: bool = False
    """The caller asked to wait for the ledger, but the waiting room was full."""

    @property
    def payment_id(self) -> str:
        """The public id."""
        return self.outbox_position.payment_id


Outcome = Accepted | Refusal
"""The answer to one payment."""


def posted_as(accepted: Accepted, outbox_position: OutboxPosition) -> Accepted:
    """An accepted payment that is in the ledger now, with the outbox position that it was posted from."""
    return Accepted(outbox_position, accepted.intent, accepted.version, replayed=accepted.replayed, posted=True)


def funds_figures(funds: Funds) -> dict[str, object]:
    """An account's funds as the figures of a refusal."""
    return {
        "balance_minor": funds.balance_minor,
        "held_minor": funds.held_minor,
        "floor_minor": funds.floor_minor,
        "available_minor": funds.available_minor,
        "version": funds.version,
    }


HELD_BACK = "What is held there stands in its way; retry with the same external_id, which may succeed once it is free."
REFUSED_FOR_GOOD = "A retry needs a new external_id."


def refuse_funds(code: ReserveCode, item: ReserveItem, funds: Funds, *, is_recorded: bool = False) -> Refusal:
    """The refusal of a payment for the state of its guarded account, or for the backlog of its partition.

    A lack of funds that the balance explains is recorded: the same external_id never succeeds later. What only holds
    explain may succeed later, unless it `is_recorded` too; `held_back.py` decides which.
    """
    intent = item.intent
    account_id = intent.guarded_account_id
    figures = {"account_id": account_id, "amount_minor": intent.amount_minor, **funds_figures(funds)}
    if code is ReserveCode.VERSION_CONFLICT:
        return optimistic_lock_conflict(funds.version, item.expected_version, figures)
    if code is ReserveCode.INSUFFICIENT_FUNDS:
        is_held_back = not is_recorded and funds.would_do_unheld(intent.hold_minor)
        return insufficient_funds(
            account_id,
            funds.available_minor,
            intent.hold_minor,
            figures,
            advice=HELD_BACK if is_held_back else REFUSED_FOR_GOOD,
            is_held_back=is_held_back,
        )
    if code is ReserveCode.BALANCE_OUT_OF_RANGE:
        return balance_out_of_range(account_id, figures)
    return ledger_backlogged(figures, "Retry with the same external_id.")


class Outcomes:
    """Turns the cache's decisions, and what the ledger says of them, into answers."""

    def __init__(
        self,
        cache: Cache,
        history: History,
        authorizations: LedgerAuthorizations,
        acknowledged: AcknowledgedTail,
    ) -> None:
        """`acknowledged` is told of every payment that is accepted now."""
        self.acknowledged = acknowledged
        self._cache = cache
        self._history = history
        self._authorizations = authorizations

    def of_decision(
        self,
        partition: int,
        item: ReserveItem,
        decision: Decision,
        first_partition: int | None,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """The answer to a payment that the cache decided; `first_partition` has claimed its external id before."""
        intent = item.intent
        if decision.code is ReserveCode.RESERVED:
            if first_partition is not None:
                reused = self.reused_elsewhere(intent, first_partition)
                if reused is not None:
                    return reused
            assert decision.stream_id is not None
            outbox_position = OutboxPosition(partition, decision.stream_id)
            if not dry_run:
                self.acknowledged.add(outbox_position)
            return Accepted(outbox_position, intent, decision.version, decision.funds, is_dry_run=dry_run)
        if decision.code is ReserveCode.REPLAYED:
            assert decision.record is not None
            return self._replay(partition, intent, decision.record, dry_run=dry_run)
        if decision.code is ReserveCode.REUSED:
            assert decision.record is not None
            return refuse_reused(intent, decision.record.fingerprint)
        assert decision.funds is not None
        return self._unless_in_ledger(intent, refuse_funds(decision.code, item, decision.funds))

    def of_record(self, partition: int, intent: Intent, record: Record) -> Outcome:
        """The answer to a payment whose external id is on record."""
        if not intent.has_fingerprint(record.fingerprint):
            return refuse_reused(intent, record.fingerprint)
        return self._replay(partition, intent, record)

    def _replay(self, partition: int, intent: Intent, record: Record, *, dry_run: bool = False) -> Outcome:
        """The recorded answer to the same request. A dry run may meet a record of its own, which carries the funds."""
        if record.state is RecordState.REFUSED:
            assert record.funds is not None
            refusal = refuse_funds(ReserveCode.INSUFFICIENT_FUNDS, ReserveItem(intent), record.funds, is_recorded=True)
            return self._unless_in_ledger(intent, replace(refusal, replayed=True))
        if record.state is RecordState.DUPLICATE:
            outbox_position = parse_payment_id(record.original_payment_id or "")
            assert outbox_position is not None
            return Accepted(outbox_position, intent, None, replayed=True, posted=True)
        assert record.stream_id is not None
        outbox_position = OutboxPosition(partition, record.stream_id)
        if record.state is RecordState.REJECTED:
            return self.rejection(outbox_position, intent, replayed=True)
        is_dry_run = dry_run and record.funds is not None
        return Accepted(outbox_position, intent, record.version, record.funds, replayed=True, is_dry_run=is_dry_run)

    def _unless_in_ledger(self, intent: Intent, refusal: Refusal) -> Outcome:
        """The refusal, unless the ledger has the payment: the cache may have forgotten it, and its funds may be spent.

        Only refusals pay for this query. While the ledger is out of reach the refusal stands.
        """
        if refusal.code is RefusalCode.LEDGER_BACKLOGGED:
            return refusal
        try:
            posted = self._history.posted_by_external_id(intent.entity_id, intent.external_id)
            known = posted or self._authorizations.by_external_id(intent.entity_id, intent.external_id)
        except LedgerUnavailable:
            log.warning("ledger not reachable, external_id %s refused by the cache alone", intent.external_id)
            return refusal
        if known is None:
            return refusal
        if not intent.has_fingerprint(known.fingerprint):
            return refuse_reused(intent, known.fingerprint)
        outbox_position = parse_payment_id(known.payment_id)
        assert outbox_position is not None
        return Accepted(outbox_position, intent, None, replayed=True, posted=True)

    def rejection(self, outbox_position: OutboxPosition, intent: Intent | Authorization, *, replayed: bool) -> Refusal:
        """Why the ledger rejected the intent at an outbox position."""
        payment_id = outbox_position.payment_id
        rejected = self._history.rejected(payment_id)
        if rejected is None:
            return replace(rejected_by_ledger(payment_id, intent.external_id), replayed=replayed)
        refusal = rejected.refusal
        return replace(refusal, figures={**refusal.figures, "payment_id": payment_id}, replayed=replayed)

    def reused_elsewhere(self, intent: Intent, first_partition: int) -> Refusal | None:
        """Refuse an external id that another partition has seen with other content.

        The intent just reserved stays: the drain reads the same claim and record, rejects the intent, and releases its
        hold.
        """
        record = self._cache.reservations.record(first_partition, intent.entity_id, intent.external_id)
        if record is None or intent.has_fingerprint(record.fingerprint):
            return None
        return refuse_reused(intent, record.fingerprint)

    def replay_or(self, request: PaymentRequest, facts: Mapping[str, AccountFacts], refusal: Refusal) -> Outcome:
        """The refusal, or the earlier answer if the same payment was accepted before the account's state barred it."""
        if refusal.code not in (RefusalCode.ACCOUNT_PAUSED, RefusalCode.ACCOUNT_FROZEN, RefusalCode.ACCOUNT_CLOSED):
            return refusal
        open_facts = {account_id: account.as_open() for account_id, account in facts.items()}
        intent = prepare(request, open_facts, "")
        if isinstance(intent, Refusal):
            return refusal
        partition = self._cache.partition_of(intent.guarded_account_id)
        record = self._cache.reservations.record(partition, intent.entity_id, intent.external_id)
        if record is None:  # the cache may have been lost, or the idempotency window is over
            earlier = self._unless_in_ledger(intent, refusal)
            return earlier if isinstance(earlier, Accepted) else refusal
        return self._replay(partition, intent, record) if intent.has_fingerprint(record.fingerprint) else refusal


@dataclass(slots=True)
class RefusedPayment:
    """An external id whose payment the cache refused, so that it has no payment id."""

    external_id: str
    refusal: Refusal


FoundPayment = QueuedIntent | PostedPayment | RejectedPayment | Authorization
"""A payment that has an id: pending, posted, rejected, or an authorization in any state."""


class PaymentFinder:
    """Looks for payments in the cache and in the ledger."""

    def __init__(self, cache: Cache, history: History, authorizations: LedgerAuthorizations) -> None:
        self._cache = cache
        self._history = history
        self._authorizations = authorizations

    def find(self, payment_id: str) -> FoundPayment | None:
        """A payment by its id, from the moment of its acknowledgement on.

        The outbox is read first and the ledger second: a payment leaves the outbox only once the ledger has it.
        """
        outbox_position = parse_payment_id(payment_id)
        if outbox_position is None:
            return None
        try:
            queued = self._cache.outbox.pending(outbox_position)
            concluded = self._cache.authorizations.conclusion(outbox_position)
        except (CacheUnavailable, OutcomeUnknown):
            log.warning("cache not reachable, looking for %s in the ledger only", payment_id)
            queued = concluded = None
        if queued is not None and queued.intent.kind == Kind.JOURNAL_HOLD:
            return None
        if queued is not None and queued.intent.kind != Kind.AUTHORIZATION:
            return queued
        posted = self._history.posted(payment_id)
        if posted is not None:
            return posted
        authorization = self._authorizations.get(payment_id) if queued is None else authorization_of(queued)
        if authorization is None:
            return self._history.rejected(payment_id)
        if concluded is None or authorization.state is not AuthorizationState.AUTHORIZED:
            return authorization
        end = OutboxPosition(outbox_position.partition, concluded.stream_id)
        return authorization.concluded_as(concluded.state, concluded.captured_minor, end)

    def find_by_external_id(self, entity_id: str, external_id: str) -> FoundPayment | RefusedPayment | None:
        """A payment by its external id; for one that the cache refused, the refusal, within the idempotency window."""
        posted = self._history.posted_by_external_id(entity_id, external_id)
        if posted is not None:
            return posted if posted.kind in (Kind.PAYMENT, Kind.CAPTURE) else None
        partition = self._cache.reservations.claimed_partition(entity_id, external_id)
        record = None if partition is None else self._cache.reservations.record(partition, entity_id, external_id)
        if record is not None and partition is not None:
            if record.stream_id is not None:
                return self.find(record.original_payment_id or OutboxPosition(partition, record.stream_id).payment_id)
            assert record.funds is not None
            return RefusedPayment(external_id, refused_for_funds(funds_figures(record.funds)))
        authorization = self._authorizations.by_external_id(entity_id, external_id)
        return authorization or self._history.rejected_by_external_id(entity_id, external_id)
