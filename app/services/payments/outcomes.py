"""What a payment is answered, and where a payment is found: outbox, ledger, records of refusals."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.domain.accounts import AccountFacts
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import CacheUnavailable, LedgerUnavailable, OutcomeUnknown
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Intent, Kind, OutboxPosition, PaymentRequest, parse_payment_id
from app.domain.payment_checks import prepare, refuse_reused
from app.domain.posting_plan import authorization_of
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Decision, Funds, Record, RecordState, ReserveCode, ReserveItem

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.history import History
    from app.ledger.transactions import LedgerAuthorizations


@dataclass(slots=True)
class Accepted:
    """An acknowledged payment. `version` is the guarded account's after the decision, if still known.

    In a dry run it has no position, for there is no such payment, and the `funds` that it would have left.
    """

    outbox_position: OutboxPosition
    intent: Intent
    version: int | None
    funds: Funds | None = None
    replayed: bool = False
    posted: bool = False
    turned_away: bool = False
    """It was to wait for the books, but all places were taken."""

    @property
    def payment_id(self) -> str:
        """The public id."""
        return self.outbox_position.payment_id

    @property
    def is_rehearsed(self) -> bool:
        """Whether a dry run decided it, so that nothing was written."""
        return not self.outbox_position.stream_id


@dataclass(slots=True)
class RefusedPayment:
    """An external id whose payment the script refused; it never got an id of its own."""

    external_id: str
    refusal: Refusal


def posted_as(accepted: Accepted, outbox_position: OutboxPosition) -> Accepted:
    return Accepted(outbox_position, accepted.intent, accepted.version, replayed=accepted.replayed, posted=True)


def funds_figures(funds: Funds) -> dict[str, object]:
    return {
        "balance_minor": funds.balance_minor,
        "held_minor": funds.held_minor,
        "floor_minor": funds.floor_minor,
        "available_minor": funds.available_minor,
        "version": funds.version,
    }


def refuse_funds(code: ReserveCode, item: ReserveItem, funds: Funds) -> Refusal:
    intent = item.intent
    figures = {"account_id": intent.guarded_account_id, "amount_minor": intent.amount_minor, **funds_figures(funds)}
    if code is ReserveCode.VERSION_CONFLICT:
        return Refusal(
            RefusalCode.OPTIMISTIC_LOCK_CONFLICT,
            f"The account is at version {funds.version}, not {item.expected_version}. Read the balance again, decide "
            f"again, and send the same external_id with the new version.",
            {**figures, "current_version": funds.version, "expected_version": item.expected_version},
        )
    if code is ReserveCode.INSUFFICIENT_FUNDS:
        return Refusal(
            RefusalCode.INSUFFICIENT_FUNDS,
            f"Account {intent.guarded_account_id!r} has {funds.available_minor} available, "
            f"the payment needs {intent.hold_minor}. A retry needs a new external_id.",
            figures,
        )
    if code is ReserveCode.BALANCE_OUT_OF_RANGE:
        return Refusal(
            RefusalCode.BALANCE_OUT_OF_RANGE,
            f"The funds of account {intent.guarded_account_id!r} would leave the range of ±(2^53 − 1).",
            figures,
        )
    return Refusal(
        RefusalCode.LEDGER_BACKLOGGED,
        "More payments wait for the books than the configured limit; nothing was moved. "
        "Retry with the same external_id.",
        figures,
    )


def refuse_exhausted(accepted: Accepted) -> Refusal:
    return Refusal(
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "The payment is accepted and pending, but the books could not lock its accounts within the bounded retries. "
        "It will post once they are free; ask for it by payment_id, or retry with the same external_id.",
        {"payment_id": accepted.payment_id, "external_id": accepted.intent.external_id, "payment_status": "pending"},
    )


log = logging.getLogger(__name__)


class Finding:
    """Looks for payments by their ids."""

    def __init__(self, cache: Cache, history: History, authorizations: LedgerAuthorizations) -> None:
        self._cache = cache
        self._history = history
        self._authorizations = authorizations

    def find(self, payment_id: str) -> QueuedIntent | PostedPayment | RejectedPayment | Authorization | None:
        """A payment by its id, from the moment of its acknowledgement on.

        The outbox first and the books after it: a payment leaves the one only when it is in the other.
        """
        outbox_position = parse_payment_id(payment_id)
        if outbox_position is None:
            return None
        try:
            queued = self._cache.outbox.pending(outbox_position)
            concluded = self._cache.authorizations.conclusion(outbox_position)
        except (CacheUnavailable, OutcomeUnknown):
            log.warning("cache not reachable, looking for %s in the books only", payment_id)
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
        return authorization.concluded_as(concluded.state, concluded.captured_minor)

    def find_by_external_id(
        self, entity_id: str, external_id: str
    ) -> QueuedIntent | PostedPayment | RejectedPayment | Authorization | RefusedPayment | None:
        """A payment by its external id; of a refused one the refusal, while the idempotency window lasts."""
        posted = self._history.posted_by_external_id(entity_id, external_id)
        if posted is not None:
            return posted if posted.kind in (Kind.PAYMENT, Kind.CAPTURE) else None
        partition = self._cache.reservations.claimed_partition(entity_id, external_id)
        record = None if partition is None else self._cache.reservations.record(partition, entity_id, external_id)
        if record is not None and partition is not None:
            if record.stream_id is not None:
                return self.find(record.original_payment_id or OutboxPosition(partition, record.stream_id).payment_id)
            assert record.funds is not None
            refusal = Refusal(RefusalCode.INSUFFICIENT_FUNDS, "Refused for lack of funds.", funds_figures(record.funds))
            return RefusedPayment(external_id, refusal)
        authorization = self._authorizations.by_external_id(entity_id, external_id)
        return authorization or self._history.rejected_by_external_id(entity_id, external_id)


class Answering(Finding):
    """Answers to payments, over the cache and the books."""

    def outcome(
        self, partition: int, item: ReserveItem, decision: Decision, first_partition: int | None
    ) -> Accepted | Refusal:
        """What a decision of the script answers; `first_partition` claimed the external id before, elsewhere."""
        intent = item.intent
        if decision.code is ReserveCode.RESERVED:
            if first_partition is not None:
                reused = self.reused_elsewhere(intent, first_partition)
                if reused is not None:
                    return reused
            assert decision.stream_id is not None
            return Accepted(OutboxPosition(partition, decision.stream_id), intent, decision.version, decision.funds)
        if decision.code is ReserveCode.REPLAYED:
            assert decision.record is not None
            return self._replay(partition, intent, decision.record)
        if decision.code is ReserveCode.REUSED:
            assert decision.record is not None
            return refuse_reused(intent, decision.record.fingerprint)
        assert decision.funds is not None
        return self._unless_in_ledger(intent, refuse_funds(decision.code, item, decision.funds))

    def _replay(self, partition: int, intent: Intent, record: Record) -> Accepted | Refusal:
        """The recorded answer to the same request."""
        if record.state is RecordState.REFUSED:
            assert record.funds is not None
            refusal = refuse_funds(ReserveCode.INSUFFICIENT_FUNDS, ReserveItem(intent), record.funds)
            return self._unless_in_ledger(intent, replace(refusal, replayed=True))
        if record.state is RecordState.DUPLICATE:
            outbox_position = parse_payment_id(record.original_payment_id or "")
            assert outbox_position is not None
            return Accepted(outbox_position, intent, None, replayed=True, posted=True)
        assert record.stream_id is not None
        outbox_position = OutboxPosition(partition, record.stream_id)
        if record.state is RecordState.REJECTED:
            return self.rejection(outbox_position, intent, replayed=True)
        return Accepted(outbox_position, intent, record.version, record.funds, replayed=True)

    def _unless_in_ledger(self, intent: Intent, refusal: Refusal) -> Accepted | Refusal:
        """A refusal, unless the books have the payment: the cache has forgotten it, and its funds are long spent.

        Only refusals pay for this look. While the books are out of reach the refusal stands.
        """
        if refusal.code is RefusalCode.LEDGER_BACKLOGGED:
            return refusal
        try:
            posted = self._history.posted_by_external_id(intent.entity_id, intent.external_id)
            known = posted or self._authorizations.by_external_id(intent.entity_id, intent.external_id)
        except LedgerUnavailable:
            log.warning("books not reachable, external_id %s refused by the cache alone", intent.external_id)
            return refusal
        if known is None:
            return refusal
        if known.fingerprint != intent.fingerprint:
            return refuse_reused(intent, known.fingerprint)
        outbox_position = parse_payment_id(known.payment_id)
        assert outbox_position is not None
        return Accepted(outbox_position, intent, None, replayed=True, posted=True)

    def rejection(self, outbox_position: OutboxPosition, intent: Intent | Authorization, *, replayed: bool) -> Refusal:
        """Why the books rejected the intent at a place."""
        rejected = self._history.rejected(outbox_position.payment_id)
        if rejected is None:
            return Refusal(
                RefusalCode.REJECTED_BY_LEDGER,
                f"The books rejected payment {outbox_position.payment_id}.",
                {"payment_id": outbox_position.payment_id, "external_id": intent.external_id},
                replayed,
            )
        refusal = rejected.refusal
        return Refusal(
            refusal.code, refusal.detail, {**refusal.figures, "payment_id": outbox_position.payment_id}, replayed
        )

    def reused_elsewhere(self, intent: Intent, first_partition: int) -> Refusal | None:
        """Refuse an external id that another partition has seen with other content.

        The intent just reserved needs no undoing: the drain looks at the same claim and record, rejects it, and
        releases its hold.
        """
        record = self._cache.reservations.record(first_partition, intent.entity_id, intent.external_id)
        if record is None or record.fingerprint == intent.fingerprint:
            return None
        return refuse_reused(intent, record.fingerprint)

    def replay_or(
        self, request: PaymentRequest, facts: dict[str, AccountFacts], refusal: Refusal
    ) -> Refusal | Accepted:
        """A refusal, unless the same payment was accepted before the account's state barred it."""
        if refusal.code not in (RefusalCode.ACCOUNT_FROZEN, RefusalCode.ACCOUNT_CLOSED):
            return refusal
        open_facts = {account_id: account.as_open() for account_id, account in facts.items()}
        intent = prepare(request, open_facts, "")
        if isinstance(intent, Refusal):
            return refusal
        partition = self._cache.partition_of(intent.guarded_account_id)
        record = self._cache.reservations.record(partition, intent.entity_id, intent.external_id)
        if record is None or record.fingerprint != intent.fingerprint:
            return refusal
        return self._replay(partition, intent, record)
