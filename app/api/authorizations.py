"""Authorizations: capture or void one."""

from typing import Any

from app.api.fields import Amount
from app.api.json_body import RequestObject
from app.api.parameters import IDEMPOTENT_REPLAYED, PREFER, PREFERENCE_APPLIED
from app.api.payment_schema import PaymentBody
from app.api.payment_views import authorization_body
from app.api.responses import REPLAYED, Answer, json_answer, problem
from app.api.route_refusals import AMOUNT
from app.api.routes import Body, Call, Routes
from app.domain.read_models import Durability
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.services.access.api_keys import Scope
from app.services.payments.authorizations import Concluded

routes = Routes()

CONCLUSION = frozenset(
    {
        Code.HOLD_NOT_FOUND,
        Code.HOLD_ALREADY_CAPTURED,
        Code.HOLD_ALREADY_VOIDED,
        Code.HOLD_EXPIRED,
        Code.REJECTED_BY_LEDGER,
        Code.LEDGER_BACKLOGGED,
    }
)
"""Why an authorization cannot be captured or voided."""


class NoFields(RequestObject):
    """Nothing: the request may have an empty object for a body, or no body."""


class NewCapture(RequestObject):
    """How much to capture, in minor units; `{}` or no body is all of it."""

    amount_minor: Amount | None = None


@routes.add(
    "POST",
    "/v1/payments/{payment_id}/capture",
    "Capture an authorization, once, all or part; the rest is released",
    scope=Scope.PAYMENTS_WRITE,
    body=Body(NewCapture, optional=True),
    answers={200: PaymentBody},
    headers=(PREFER,),
    sends=(PREFERENCE_APPLIED, IDEMPOTENT_REPLAYED),
    refuses=CONCLUSION | AMOUNT | {Code.CAPTURE_EXCEEDS_HOLD},
)
def capture_payment(call: Call[NewCapture]) -> Answer:
    """Capture, and wait for the ledger if asked to."""
    payment_id = call.path["payment_id"]
    return _answer(call, call.here.authorizations.capture(payment_id, call.body.amount_minor, call.actor))


@routes.add(
    "POST",
    "/v1/payments/{payment_id}/void",
    "Void an authorization: release its funds",
    scope=Scope.PAYMENTS_WRITE,
    body=Body(NoFields, optional=True),
    answers={200: PaymentBody},
    headers=(PREFER,),
    sends=(PREFERENCE_APPLIED, IDEMPOTENT_REPLAYED),
    refuses=CONCLUSION,
)
def void_payment(call: Call[NoFields]) -> Answer:
    """Void, and wait for the ledger if asked to."""
    payment_id = call.path["payment_id"]
    return _answer(call, call.here.authorizations.void(payment_id, call.actor))


def _answer(call: Call[Any], outcome: Concluded | Refusal) -> Answer:
    wait_s = call[PREFER]
    if wait_s is not None and isinstance(outcome, Concluded):
        outcome = call.here.authorizations.wait(outcome, wait_s)
    if isinstance(outcome, Refusal):
        answer = problem(outcome)
    else:
        durability = Durability.LEDGER if outcome.in_ledger else call.here.readiness.durability()
        answer = json_answer(authorization_body(outcome.authorization, durability))
        if outcome.replayed:
            answer.headers.append(REPLAYED)
    if wait_s is not None and not (isinstance(outcome, Concluded) and outcome.turned_away):
        answer.headers.append(("preference-applied", f"wait={wait_s:.0f}"))
    return answer
