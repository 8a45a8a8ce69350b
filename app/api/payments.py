"""Payments: submit one, read one by its id, find one by its external id."""

from flask import Blueprint, Response, request

from app.api.auth import actor, operation
from app.api.context import services
from app.api.payment_schema import AcknowledgedPayment, NewPayment, PaymentBody, requested
from app.api.payment_views import acknowledged, acknowledged_status, payment_body
from app.api.requests import (
    Body,
    expected_version,
    is_dry_run,
    malformed,
    only_parameters,
    preferred_wait_s,
    refuse_decomposed_parameters,
)
from app.api.responses import json_response, problem
from app.domain.accounts import DEFAULT_ENTITY
from app.domain.payment_refusals import payment_not_found
from app.domain.refusals import Refusal
from app.services.access.api_keys import Scope
from app.services.payments.outcomes import Accepted

blueprint = Blueprint("payments", __name__)

new_payment = Body(NewPayment)


@blueprint.post("/v1/payments")
@operation(
    "Make a payment; a replay of the same external_id answers 200",
    scope=Scope.PAYMENTS_WRITE,
    body=NewPayment,
    answers={201: AcknowledgedPayment, 200: AcknowledgedPayment},
    parameters=("dry_run",),
    headers=("Prefer", "If-Match"),
)
def submit_payment() -> Response:
    """Reserve the funds, and wait for the ledger if asked to; a dry run only says what would happen."""
    here, dry_run = services(), is_dry_run()
    body = new_payment.read()
    wait_s = None if dry_run else preferred_wait_s()
    payment = requested(body, expected_version(body.expected_version), here.now(), awaited=wait_s is not None)
    if dry_run:
        [outcome] = here.payments.submit([payment], actor(), dry_run=True)
    else:
        outcome = here.payments.submit_one(payment, actor())
    if wait_s is not None and isinstance(outcome, Accepted):
        outcome = here.payments.wait(outcome, wait_s)
    response = problem(outcome) if isinstance(outcome, Refusal) else _acknowledgement(outcome)
    if wait_s is not None and not (isinstance(outcome, Accepted) and outcome.turned_away):
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    return response


def _acknowledgement(accepted: Accepted) -> Response:
    body = acknowledged(accepted, services().readiness.durability())
    response = json_response(body, acknowledged_status(accepted))
    if not accepted.is_dry_run:
        response.headers["Location"] = f"/v1/payments/{accepted.payment_id}"
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.get("/v1/payments/<payment_id>")
@operation("Read a payment, from the moment of its acknowledgement on", scope=Scope.READ, answers={200: PaymentBody})
def get_payment(payment_id: str) -> Response:
    """One payment."""
    found = services().finder.find(payment_id)
    if found is None:
        return problem(payment_not_found(payment_id))
    return json_response(payment_body(found, payment_id))


@blueprint.get("/v1/payments")
@operation(
    "Find a payment by external_id",
    scope=Scope.READ,
    answers={200: PaymentBody},
    parameters=("external_id", "entity_id"),
)
def find_payment() -> Response:
    """The payment of an external id, as a list of none or one."""
    only_parameters("external_id", "entity_id", "limit", "after")
    external_id = request.args.get("external_id")
    if external_id is None:
        raise malformed("Give the external_id to find.", field="external_id")
    found = services().finder.find_by_external_id(request.args.get("entity_id", DEFAULT_ENTITY), external_id)
    if found is None:
        refuse_decomposed_parameters("external_id", "entity_id")
    return json_response({"data": [] if found is None else [payment_body(found, None)], "next": None})
