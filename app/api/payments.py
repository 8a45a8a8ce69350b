"""Payments: submit one, read one by its id, find one by its external id."""

from msgspec import UNSET

from app.api.entity_binding import entity_of, visible_entity
from app.api.parameters import (
    DRY_RUN,
    EXTERNAL_ID,
    IDEMPOTENT_REPLAYED,
    IF_MATCH,
    LOCATION,
    OF_ENTITY,
    PREFER,
    PREFERENCE_APPLIED,
    expected_version,
    refuse_decomposed_parameters,
)
from app.api.payment_schema import AcknowledgedPayment, NewPayment, PaymentBody, requested
from app.api.payment_views import acknowledged, acknowledged_status, payment_body
from app.api.responses import REPLAYED, Answer, json_answer, problem
from app.api.route_refusals import MOVEMENT
from app.api.routes import Body, Call, Routes
from app.domain.payment_refusals import payment_not_found
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import to_milliseconds
from app.services.access.api_keys import Scope
from app.services.payments.outcomes import Accepted, FoundPayment, RefusedPayment

routes = Routes()


@routes.add(
    "POST",
    "/v1/payments",
    "Make a payment; a replay of the same external_id answers 200",
    scope=Scope.PAYMENTS_WRITE,
    body=Body(NewPayment),
    answers={201: AcknowledgedPayment, 200: AcknowledgedPayment},
    parameters=(DRY_RUN,),
    headers=(PREFER, IF_MATCH),
    sends=(LOCATION, PREFERENCE_APPLIED, IDEMPOTENT_REPLAYED),
    refuses=MOVEMENT
    | {
        Code.EFFECTIVE_AT_IN_FUTURE,
        Code.ACCOUNTS_EQUAL,
        Code.CURRENCY_MISMATCH,
        Code.SPLITS_DO_NOT_ADD_UP,
        Code.EXPIRY_NOT_ALLOWED,
        Code.TWO_GUARDED_ACCOUNTS,
        Code.EXTERNAL_ID_REFUSED,
        Code.OPTIMISTIC_LOCK_CONFLICT,
        Code.LINKED_PAYMENT_FAILED,
    },
)
def submit_payment(call: Call[NewPayment]) -> Answer:
    """Reserve the funds, and wait for the ledger if asked to; a dry run only says what would happen."""
    here, body, dry_run = call.here, call.body, call[DRY_RUN]
    wait_s = None if dry_run else call[PREFER]
    version = expected_version(call, body.expected_version)
    payment = requested(body, version, here.now(), call.entities, awaited=wait_s is not None)
    if dry_run:
        [outcome] = here.payments.submit([payment], call.actor, dry_run=True)
    else:
        outcome = here.payments.submit_one(payment, call.actor)
    if wait_s is not None and isinstance(outcome, Accepted):
        outcome = here.payments.wait(outcome, wait_s)
    answer = problem(outcome) if isinstance(outcome, Refusal) else _acknowledgement(call, outcome)
    if wait_s is not None and not (isinstance(outcome, Accepted) and outcome.turned_away):
        answer.headers.append(("preference-applied", f"wait={wait_s:.0f}"))
    return answer


def _acknowledgement(call: Call[NewPayment], accepted: Accepted) -> Answer:
    now_ms = to_milliseconds(call.here.now())
    body = acknowledged(accepted, call.here.readiness.durability(), now_ms, may_read=call.may_read)
    answer = json_answer(body, acknowledged_status(accepted))
    if not accepted.is_dry_run:
        answer.headers.append(("location", f"/v1/payments/{accepted.payment_id}"))
    if accepted.replayed:
        answer.headers.append(REPLAYED)
    return answer


@routes.add(
    "GET",
    "/v1/payments/{payment_id}",
    "Read a payment, from the moment of its acknowledgement on",
    scope=Scope.PAYMENTS_READ,
    answers={200: PaymentBody},
    refuses=frozenset({Code.PAYMENT_NOT_FOUND}),
)
def get_payment(call: Call[None]) -> Answer:
    """One payment."""
    payment_id = call.path["payment_id"]
    found = call.here.finder.find(payment_id)
    if found is None:
        return problem(payment_not_found(payment_id))
    return json_answer(_body(call, found, payment_id))


@routes.add(
    "GET",
    "/v1/payments",
    "Find a payment by external_id",
    scope=Scope.PAYMENTS_READ,
    answers={200: PaymentBody},
    parameters=(EXTERNAL_ID, OF_ENTITY),
    paged=True,
)
def find_payment(call: Call[None]) -> Answer:
    """The payment of an external id, as a list of none or one."""
    external_id = call[EXTERNAL_ID]
    assert external_id is not None
    entity_id = entity_of(call, call[OF_ENTITY] if call.has(OF_ENTITY) else UNSET)
    found = call.here.finder.find_by_external_id(visible_entity(call, entity_id), external_id)
    if found is None:
        refuse_decomposed_parameters(call, EXTERNAL_ID, OF_ENTITY)
    data = [] if found is None else [_body(call, found, None)]
    return json_answer({"data": data, "next": None})


def _body(call: Call[None], found: FoundPayment | RefusedPayment, asked_id: str | None) -> PaymentBody:
    return payment_body(found, asked_id, call.here.readiness.durability, call.here.now(), may_read=call.may_read)
