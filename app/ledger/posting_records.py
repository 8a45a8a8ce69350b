"""Rows of the table of authorizations."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Json, Jsonb

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.ledger_rows import Duplicate, PostingPlan, Rejection
from app.domain.payment import Leg


def authorization_from_row(row: Sequence[Any]) -> Authorization:
    """A row of the table, all its columns in order."""
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


def record_authorizations(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write the authorizations that a plan makes and concludes, and their history."""
    authorized = [
        (
            authorization.payment_id,
            authorization.entity_id,
            authorization.external_id,
            authorization.fingerprint,
            authorization.guarded_account_id,
            authorization.hold_minor,
            authorization.currency_code,
            Jsonb([[leg.account_id, leg.amount_minor] for leg in authorization.legs]),
            authorization.expires_at,
            authorization.actor,
            authorization.description,
            authorization.effective_at,
            None if authorization.metadata is None else Json(authorization.metadata),
            authorization.accepted_at,
        )
        for authorization in plan.authorized
    ]
    concluded = [
        (
            authorization.state,
            authorization.captured_minor,
            authorization.concluded_by,
            authorization.concluded_at,
            authorization.payment_id,
        )
        for authorization in plan.concluded
    ]
    events = [
        (
            authorization.payment_id,
            AuthorizationState.AUTHORIZED,
            authorization.hold_minor,
            authorization.actor,
            authorization.payment_id,
        )
        for authorization in plan.authorized
    ]
    events += [
        (
            authorization.payment_id,
            authorization.state,
            authorization.captured_minor or 0,
            authorization.concluding_actor,
            authorization.concluded_by or "",
        )
        for authorization in plan.concluded
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
                rejection.queued.outbox_position.payment_id,
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
        connection.execute(
            _INSERT_DUPLICATE, (duplicate.queued.outbox_position.payment_id, duplicate.original_payment_id)
        )


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
