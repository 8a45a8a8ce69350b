"""Refunds: take a payment back, list what was taken back."""

from typing import Annotated

from flask import Blueprint, Response
from msgspec import Meta, Struct

from app.api.access import actor, operation
from app.api.context import services
from app.api.journals import JournalEntry, entry_body
from app.api.problems import problem
from app.api.rendering import json_response
from app.api.requests import Body, is_dry_run
from app.domain.clock import rfc3339
from app.domain.entries import LedgerTransaction
from app.domain.refusals import Refusal
from app.services.keys import Scope

blueprint = Blueprint("refunds", __name__)


class NewRefund(Struct, forbid_unknown_fields=True):
    """How much of a payment to take back, in minor units; all that remains where nothing is said."""

    external_id: str
    amount_minor: int | None = None
    reason: Annotated[str, Meta(max_length=1_000)] | None = None


class RefundBody(Struct):
    """A refund in the books; minor units. In a dry run there is none: no id, no time, the status `dry_run`."""

    refund_id: str | None
    payment_id: str
    external_id: str
    amount_minor: int
    currency_code: str
    status: str
    reason: str | None
    entries: list[JournalEntry]
    posted_at: str | None
    ledger_transaction: str | None


_new_refund = Body(NewRefund)


@blueprint.post("/v1/payments/<payment_id>/refunds")
@operation(
    "Refund a payment, all that remains or a part; splits are taken back in proportion",
    scope=Scope.PAYMENTS_WRITE,
    body=NewRefund,
    answers={201: RefundBody, 200: RefundBody},
    parameters=("dry_run",),
)
def refund_payment(payment_id: str) -> Response:
    """Refund, or only say what would be."""
    dry_run = is_dry_run()
    body = _new_refund.read()
    outcome = services().refunds.refund(
        payment_id, body.external_id, body.amount_minor, body.reason, actor(), dry_run=dry_run
    )
    if isinstance(outcome, Refusal):
        return problem(outcome)
    if outcome.rehearsed:
        return json_response(_refund_body(outcome.transaction, is_rehearsed=True))
    response = json_response(_refund_body(outcome.transaction), 200 if outcome.replayed else 201)
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.get("/v1/payments/<payment_id>/refunds")
@operation("List the refunds of a payment, oldest first", scope=Scope.READ, answers={200: RefundBody})
def list_refunds(payment_id: str) -> Response:
    """All refunds of one payment."""
    found = services().refunds.list(payment_id)
    if isinstance(found, Refusal):
        return problem(found)
    return json_response({"data": [_refund_body(one) for one in found], "next": None})


def _refund_body(found: LedgerTransaction, *, is_rehearsed: bool = False) -> RefundBody:
    source = found.entries[-1]
    return RefundBody(
        refund_id=None if is_rehearsed else found.payment_id,
        payment_id=found.relates_to or "",
        external_id=found.external_id,
        amount_minor=-source.amount_minor,
        currency_code=source.currency_code,
        status="dry_run" if is_rehearsed else "posted",
        reason=found.description,
        entries=[entry_body(entry) for entry in found.entries],
        posted_at=None if is_rehearsed else rfc3339(found.posted_at),
        ledger_transaction=None if is_rehearsed else f"{found.partition}/{found.chain_seq}",
    )
