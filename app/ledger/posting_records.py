"""What a locked posting writes besides transactions and entries: authorizations, returns, rejections, duplicates.

An authorization keeps its metadata as json and not as jsonb. A capture puts the text into a transaction, whose hash
covers it, so the text must come back exactly as it went in.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Json, Jsonb

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.ledger_rows import Duplicate, PostingPlan, Rejection
from app.domain.payment import Intent, Leg


def authorization_from_row(row: Sequence[Any]) -> Authorization:
    """An authorization from a row of its table, with all columns in order."""
    fields = list(row)
    fields[7] = [Leg(account_id, amount_minor) for account_id, amount_minor in fields[7]]
    fields[8] = AuthorizationState(fields[8])
    return Authorization(*fields)


_INSERT_REJECTION = """
INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_DUPLICATE = """
INSERT INTO payment_duplicate (payment_id, original_payment_id) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_INSERT_HOLD = """
INSERT INTO hold (payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs,
    expires_at, actor, description, effective_at, metadata, accepted_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_CONCLUDE_HOLD = """
UPDATE hold SET state = %s, captured_minor = %s, concluded_by = %s, concluded_at = %s WHERE payment_id = %s
"""
_INSERT_HOLD_EVENT = """
INSERT INTO hold_event (payment_id, state, amount_minor, actor, intent_id) VALUES (%s, %s, %s, %s, %s)
"""


_INSERT_RETURN = """
INSERT INTO payment_return (partition, chain_seq, payment_id, account_id, amount_minor, returned_minor)
VALUES (%s, %s, %s, %s, %s, %s)
"""


def record_authorizations(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write the authorizations that a plan makes and concludes, and their history."""
    events = [_event_of_authorization(one) for one in plan.authorized]
    events += [_event_of_conclusion(one) for one in plan.concluded]
    with connection.cursor() as cursor:
        if plan.authorized:
            cursor.executemany(_INSERT_HOLD, [_row_of(one) for one in plan.authorized])
        if plan.concluded:
            cursor.executemany(_CONCLUDE_HOLD, [_conclusion_of(one) for one in plan.concluded])
        if events:
            cursor.executemany(_INSERT_HOLD_EVENT, events)


def _row_of(one: Authorization) -> tuple[Any, ...]:
    return (
        one.payment_id,
        one.entity_id,
        one.external_id,
        one.fingerprint,
        one.guarded_account_id,
        one.hold_minor,
        one.currency_code,
        Jsonb([[leg.account_id, leg.amount_minor] for leg in one.legs]),
        one.expires_at,
        one.actor,
        one.description,
        one.effective_at,
        None if one.metadata is None else Json(one.metadata),
        one.accepted_at,
    )


def _conclusion_of(one: Authorization) -> tuple[Any, ...]:
    return one.state, one.captured_minor, one.concluded_by, one.concluded_at, one.payment_id


def _event_of_authorization(one: Authorization) -> tuple[Any, ...]:
    return one.payment_id, AuthorizationState.AUTHORIZED, one.hold_minor, one.actor, one.payment_id


def _event_of_conclusion(one: Authorization) -> tuple[Any, ...]:
    return one.payment_id, one.state, one.captured_minor or 0, one.concluding_actor, one.concluded_by or ""


def record_returns(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write what a plan takes back of payments; a trigger refuses a sum that does not follow from the one before."""
    if not plan.returns:
        return
    rows = [
        (partition, chain_seq, one.payment_id, one.account_id, one.amount_minor, one.returned_minor)
        for partition, chain_seq, one in plan.returns
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT_RETURN, rows)


def record_rejections(connection: psycopg.Connection[Any], rejections: Sequence[Rejection]) -> None:
    """Write what the ledger refuses, with the reason and the whole intent."""
    for rejection in rejections:
        intent, refusal = rejection.queued.intent, rejection.refusal
        connection.execute(
            _INSERT_REJECTION,
            (
                rejection.queued.outbox_position.payment_id,
                intent.entity_id,
                intent.external_id,
                intent.fingerprint,
                refusal.code.value,
                _storable(refusal.detail),
                Jsonb(_storable(dict(refusal.figures))),
                Jsonb(_storable(_document(intent))),
            ),
        )


def record_duplicates(connection: psycopg.Connection[Any], duplicates: Sequence[Duplicate]) -> None:
    """Write which payment each late repeat belongs to."""
    for duplicate in duplicates:
        connection.execute(
            _INSERT_DUPLICATE, (duplicate.queued.outbox_position.payment_id, duplicate.original_payment_id)
        )


def _document(intent: Intent) -> dict[str, Any]:
    """A refused intent as it is stored beside the reason."""
    return {
        "kind": intent.kind,
        "guarded_account_id": intent.guarded_account_id,
        "hold_minor": intent.hold_minor,
        "currency_code": intent.currency_code,
        "legs": [{"account_id": leg.account_id, "amount_minor": leg.amount_minor} for leg in intent.legs],
        "actor": intent.actor,
        "description": intent.description,
        "effective_at": intent.effective_at.isoformat() if intent.effective_at else None,
        "metadata": intent.metadata,
    }


def _storable(value: Any) -> Any:
    """The value without NUL characters: Postgres stores none in text or jsonb, and every rejection must be stored."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
