"""Authorizations: capture or void one."""

from flask import Blueprint, Response
from msgspec import Struct

from app.api.auth import actor, operation
from app.api.context import services
from app.api.payment_schema import PaymentBody
from app.api.payment_views import authorization_body
from app.api.requests import Body, preferred_wait_s
from app.api.responses import json_response, problem
from app.domain.refusals import Refusal
from app.services.access.api_keys import Scope
from app.services.payments.authorizations import Concluded
from app.services.proofs.readiness import DURABLE_IN_LEDGER

blueprint = Blueprint("authorizations", __name__)


class NewCapture(Struct, forbid_unknown_fields=True):
    """How much to capture, in minor units; all of it by default."""

    amount_minor: int | None = None


_new_capture = Body(NewCapture)


@blueprint.post("/v1/payments/<payment_id>/capture")
@operation(
    "Capture an authorization, once, all or part; the rest is released",
    scope=Scope.PAYMENTS_WRITE,
    body=NewCapture,
    answers={200: PaymentBody},
    headers=("Prefer",),
)
def capture_payment(payment_id: str) -> Response:
    """Capture, and wait for the ledger if asked to."""
    wanted = _new_capture.read_or(NewCapture())
    return _answer(services().authorizations.capture(payment_id, wanted.amount_minor, actor()))


@blueprint.post("/v1/payments/<payment_id>/void")
@operation(
    "Void an authorization: release its funds",
    scope=Scope.PAYMENTS_WRITE,
    answers={200: PaymentBody},
    headers=("Prefer",),
)
def void_payment(payment_id: str) -> Response:
    """Void, and wait for the ledger if asked to."""
    return _answer(services().authorizations.void(payment_id, actor()))


def _answer(outcome: Concluded | Refusal) -> Response:
    wait_s = preferred_wait_s()
    if wait_s is not None and isinstance(outcome, Concluded):
        outcome = services().authorizations.wait(outcome, wait_s)
    if isinstance(outcome, Refusal):
        response = problem(outcome)
    else:
        durability = DURABLE_IN_LEDGER if outcome.in_ledger else services().readiness.durability()
        response = json_response(authorization_body(outcome.authorization, durability))
        if outcome.replayed:
            response.headers["Idempotent-Replayed"] = "true"
    if wait_s is not None and not (isinstance(outcome, Concluded) and outcome.turned_away):
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    return response
