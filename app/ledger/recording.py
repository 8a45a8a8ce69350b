"""What a posting writes beside the entries: authorizations and their history, rejections, duplicates."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Json, Jsonb

from app.domain.holds import HoldState
from app.domain.posting import Duplicate, PostingPlan, Rejection

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


def record_holds(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write the authorizations that a plan makes and concludes, and their history."""
    authorized = [
        (
            hold.payment_id,
            hold.entity_id,
            hold.external_id,
            hold.fingerprint,
            hold.guarded_account_id,
            hold.hold_minor,
            hold.currency_code,
            Jsonb([[leg.account_id, leg.amount_minor] for leg in hold.legs]),
            hold.expires_at,
            hold.actor,
            hold.description,
            hold.effective_at,
            None if hold.metadata is None else Json(hold.metadata),
            hold.accepted_at,
        )
        for hold in plan.authorized
    ]
    concluded = [
        (hold.state, hold.captured_minor, hold.concluded_by, hold.concluded_at, hold.payment_id)
        for hold in plan.concluded
    ]
    events = [
        (hold.payment_id, HoldState.AUTHORIZED, hold.hold_minor, hold.actor, hold.payment_id)
        for hold in plan.authorized
    ]
    events += [
        (hold.payment_id, hold.state, hold.captured_minor or 0, hold.concluding_actor, hold.concluded_by or "")
        for hold in plan.concluded
    ]
    with connection.cursor() as cursor:
        for statement, rows in (
            (_INSERT_HOLD, authorized),
            (_CONCLUDE_HOLD, concluded),
            (_INSERT_HOLD_EVENT, events),
        ):
            if rows:
                cursor.executemany(statement, rows)


def record_rejections(connection: psycopg.Connection[Any], rejections: Sequence[Rejection]) -> None:
    """Write what the books refuse, with the reason and the whole intent."""
    for rejection in rejections:
        intent, refusal = rejection.queued.intent, rejection.refusal
        connection.execute(
            _INSERT_REJECTION,
            (
                rejection.queued.place.payment_id,
                intent.entity_id,
                intent.external_id,
                intent.fingerprint,
                refusal.code.value,
                _keepable(refusal.detail),
                Jsonb(_keepable(dict(refusal.figures))),
                Jsonb(_keepable(intent_document(rejection))),
            ),
        )


def record_duplicates(connection: psycopg.Connection[Any], duplicates: Sequence[Duplicate]) -> None:
    """Write which late repeats lead to which originals."""
    for duplicate in duplicates:
        connection.execute(_INSERT_DUPLICATE, (duplicate.queued.place.payment_id, duplicate.original_payment_id))


def intent_document(rejection: Rejection) -> dict[str, Any]:
    """The refused intent as it is kept beside the reason."""
    intent = rejection.queued.intent
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


def _keepable(value: Any) -> Any:
    """The same without NUL characters, which Postgres keeps neither as text nor as jsonb: a rejection must go in."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_keepable(key): _keepable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_keepable(item) for item in value]
    return value
