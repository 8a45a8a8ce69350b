"""Payments as the API shows them: in the answer to a submission, and whenever they are read."""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import UNSET, UnsetType

from app.api.fields import direction_of
from app.api.payment_schema import (
    AcknowledgedPayment,
    AcknowledgedStatus,
    DestinationBody,
    FundsAfter,
    PaymentBody,
    PaymentEntry,
    PaymentStatus,
    Rejection,
)
from app.domain.authorizations import Authorization, authorization_of
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Kind, Leg, OutboxPosition, parse_payment_id
from app.domain.read_models import Durability, PostedPayment, RejectedPayment
from app.domain.refusals import Refusal, without_funds
from app.domain.timestamps import from_milliseconds, rfc3339, rfc3339_of_milliseconds, to_milliseconds
from app.services.payments.outcomes import Accepted, RefusedPayment


def acknowledged(accepted: Accepted, durability: Durability, now_ms: int, *, may_read: bool) -> AcknowledgedPayment:
    """An accepted payment; `durability` is what an acknowledgement by the cache survives.

    `now_ms` in milliseconds since 1970 UTC; `may_read`: whether the caller may read balances.
    """
    if accepted.is_dry_run:
        return _rehearsed(accepted, may_read=may_read)
    intent = accepted.intent
    accepted_at = rfc3339_of_milliseconds(accepted.outbox_position.accepted_at_ms(now_ms))
    return AcknowledgedPayment(
        payment_id=accepted.payment_id,
        external_id=intent.external_id,
        status=_acknowledged_state(accepted),
        durability=Durability.LEDGER if accepted.posted else durability,
        version=accepted.version,
        source_account_id=intent.source_account_id,
        destination_account_id=intent.destination_account_id,
        amount_minor=intent.amount_minor,
        currency_code=intent.currency_code,
        description=intent.description,
        effective_at=rfc3339(intent.effective_at) if intent.effective_at else accepted_at,
        metadata=intent.metadata,
        accepted_at=accepted_at,
        destinations=split_of(intent.legs) or UNSET,
        expires_at=_expires_at(accepted, now_ms),
    )


def _expires_at(accepted: Accepted, now_ms: int) -> str | UnsetType:
    """When an authorization expires; other payments do not."""
    if accepted.intent.expires_in_s is None and accepted.intent.kind != Kind.AUTHORIZATION:
        return UNSET
    queued = QueuedIntent(accepted.outbox_position, accepted.intent)
    return rfc3339(authorization_of(queued, now_ms).expires_at)


def _accepted_at(outbox_position: OutboxPosition, now: datetime) -> datetime:
    """When a payment was accepted, as far as its outbox position tells."""
    return from_milliseconds(outbox_position.accepted_at_ms(to_milliseconds(now)))


def _acknowledged_state(accepted: Accepted) -> AcknowledgedStatus:
    if accepted.intent.kind == Kind.AUTHORIZATION:
        return AcknowledgedStatus.AUTHORIZED
    return AcknowledgedStatus.POSTED if accepted.posted else AcknowledgedStatus.PENDING


def split_of(legs: Sequence[Leg]) -> list[DestinationBody] | None:
    """The destinations of a split; None for a payment with only one."""
    if len(legs) == 2:
        return None
    return [DestinationBody(leg.account_id, -leg.amount_minor) for leg in legs[1:]]


def _rehearsed(accepted: Accepted, *, may_read: bool) -> AcknowledgedPayment:
    intent, funds = accepted.intent, accepted.funds
    assert funds is not None
    return AcknowledgedPayment(
        payment_id=None,
        external_id=intent.external_id,
        status=AcknowledgedStatus.DRY_RUN,
        durability=Durability.NONE,
        version=funds.version if may_read else None,
        source_account_id=intent.source_account_id,
        destination_account_id=intent.destination_account_id,
        amount_minor=intent.amount_minor,
        currency_code=intent.currency_code,
        description=intent.description,
        effective_at=rfc3339(intent.effective_at) if intent.effective_at else None,
        metadata=intent.metadata,
        accepted_at=None,
        funds=FundsAfter(
            intent.guarded_account_id,
            funds.balance_minor,
            funds.held_minor,
            funds.floor_minor,
            funds.available_minor,
        )
        if may_read
        else UNSET,
    )


def acknowledged_status(accepted: Accepted) -> int:
    """The HTTP status of an accepted payment: 201 if it is new, 200 for a replay or a dry run."""
    return 200 if accepted.replayed or accepted.is_dry_run else 201


def payment_body(
    found: QueuedIntent | PostedPayment | RejectedPayment | Authorization | RefusedPayment,
    asked_id: str | None,
    durability: Callable[[], Durability],
    now: datetime,
    *,
    may_read: bool,
) -> PaymentBody:
    """A payment as it stands now; `asked_id` is the id that a client asked for, which may be that of a duplicate.

    `may_read`: whether the caller may read balances.
    """
    if isinstance(found, Authorization):
        return authorization_body(found, durability())
    if isinstance(found, QueuedIntent):
        return _pending_body(found, durability(), now)
    if isinstance(found, PostedPayment):
        return _posted_body(found, asked_id, may_read=may_read)
    if isinstance(found, RejectedPayment):
        return _rejected_body(found, now, may_read=may_read)
    reason = _reason(found.refusal, may_read=may_read)
    return PaymentBody(None, found.external_id, PaymentStatus.REJECTED, reason=reason)


def _pending_body(queued: QueuedIntent, durability: Durability, now: datetime) -> PaymentBody:
    intent = queued.intent
    accepted_at = _accepted_at(queued.outbox_position, now)
    return PaymentBody(
        payment_id=queued.outbox_position.payment_id,
        external_id=intent.external_id,
        status=PaymentStatus.PENDING,
        durability=durability,
        source_account_id=intent.source_account_id,
        destination_account_id=intent.destination_account_id,
        amount_minor=intent.amount_minor,
        currency_code=intent.currency_code,
        description=intent.description,
        effective_at=rfc3339(intent.effective_at or accepted_at),
        metadata=intent.metadata,
        accepted_at=rfc3339(accepted_at),
        destinations=split_of(intent.legs),
    )


def authorization_body(authorization: Authorization, durability: Durability) -> PaymentBody:
    """An authorization as it stands now."""
    captured = authorization.captured_minor
    legs = authorization.legs if captured is None else authorization.captured_legs(captured)
    split = split_of(legs)
    return PaymentBody(
        payment_id=authorization.payment_id,
        external_id=authorization.external_id,
        status=PaymentStatus(authorization.state.value),
        durability=durability,
        source_account_id=legs[0].account_id,
        destination_account_id=legs[1].account_id if split is None else None,
        amount_minor=authorization.amount_minor,
        captured_minor=authorization.captured_minor,
        currency_code=authorization.currency_code,
        destinations=split,
        description=authorization.description,
        effective_at=rfc3339(authorization.takes_effect_at),
        metadata=authorization.metadata,
        accepted_at=rfc3339(authorization.accepted_at),
        expires_at=rfc3339(authorization.expires_at),
        concluded_at=rfc3339(authorization.concluded_at) if authorization.concluded_at else None,
    )


def _posted_body(posted: PostedPayment, asked_id: str | None, *, may_read: bool) -> PaymentBody:
    if posted.authorization is None:
        body = _payment_of(posted)
    else:
        body = authorization_body(posted.authorization, Durability.LEDGER)
    source = posted.legs[0]
    body.payment_id = asked_id or posted.payment_id
    body.refunded_minor = posted.refunded_minor
    body.refundable_minor = source.amount_minor - posted.refunded_minor
    body.posted_at = rfc3339(posted.posted_at)
    body.entries = [
        PaymentEntry(
            leg.account_id,
            leg.entry_number,
            direction_of(leg.amount_minor),
            abs(leg.amount_minor),
            leg.balance_minor if may_read else UNSET,
        )
        for leg in posted.legs
    ]
    body.ledger_transaction = f"{posted.partition}/{posted.chain_seq}"
    body.duplicate_of = posted.duplicate_of
    return body


def _payment_of(posted: PostedPayment) -> PaymentBody:
    """A payment that was captured at once, without what only the ledger knows of it."""
    legs = [Leg(leg.account_id, leg.amount_minor) for leg in posted.legs]
    split = split_of(legs)
    return PaymentBody(
        payment_id=posted.payment_id,
        external_id=posted.external_id,
        status=PaymentStatus.POSTED,
        durability=Durability.LEDGER,
        source_account_id=legs[0].account_id,
        destination_account_id=legs[1].account_id if split is None else None,
        amount_minor=legs[0].amount_minor,
        destinations=split,
        currency_code=posted.currency_code,
        description=posted.description,
        effective_at=rfc3339(posted.effective_at),
        metadata=posted.metadata,
        accepted_at=rfc3339(posted.accepted_at),
    )


def _rejected_body(rejected: RejectedPayment, now: datetime, *, may_read: bool) -> PaymentBody:
    legs = rejected.intent["legs"]
    outbox_position = parse_payment_id(rejected.payment_id)
    return PaymentBody(
        payment_id=rejected.payment_id,
        external_id=rejected.external_id,
        status=PaymentStatus.REJECTED,
        source_account_id=legs[0]["account_id"],
        destination_account_id=legs[1]["account_id"] if len(legs) == 2 else None,
        amount_minor=legs[0]["amount_minor"],
        currency_code=rejected.intent["currency_code"],
        description=rejected.intent["description"],
        metadata=rejected.intent["metadata"],
        accepted_at=rfc3339(_accepted_at(outbox_position, now)) if outbox_position else None,
        rejected_at=rfc3339(rejected.rejected_at),
        reason=_reason(rejected.refusal, may_read=may_read),
    )


def _reason(refusal: Refusal, *, may_read: bool) -> Rejection:
    refusal = refusal if may_read else without_funds(refusal)
    return Rejection(refusal.code, refusal.detail, dict(refusal.figures))
