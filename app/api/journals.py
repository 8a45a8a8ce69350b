"""Journals and refunds: post, read and reverse a journal; refund a payment."""

from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from msgspec import Meta, Struct

from app.api.accounts import LARGEST_METADATA
from app.api.auth import actor, operation
from app.api.context import services
from app.api.requests import (
    Body,
    Moment,
    after_number,
    checked_metadata,
    in_utc,
    is_dry_run,
    only_parameters,
    page_limit,
)
from app.api.responses import json_response, page_response, problem
from app.domain.hash_chain import Entry, LedgerTransaction
from app.domain.journal_refusals import journal_not_found
from app.domain.journals import FEWEST_ENTRIES, MOST_ENTRIES, JournalLine, JournalRequest
from app.domain.payment import Kind
from app.domain.refusals import Refusal
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.posting.journal_posting import Done

blueprint = Blueprint("journals", __name__)

ReasonText = Annotated[str, Meta(min_length=1, max_length=1_000)]


class NewJournalEntry(Struct, forbid_unknown_fields=True):
    """One entry to post; minor units of the account's currency."""

    account_id: str
    direction: Literal["debit", "credit"]
    amount_minor: int


class NewJournal(Struct, forbid_unknown_fields=True):
    """Entries to post together, each account once; debits and credits are equal in each currency.

    `effective_at` says as of when reports count it, in the past or in the future. It delays nothing: the balances
    change, and what is credited can be spent, when the journal is posted. Post later what must not be spent yet.

    `relates_to_payment_id` names a payment that the journal gives back, in whole or in part: what it credits to the
    payment's source can no longer be refunded.
    """

    external_id: str
    entries: Annotated[list[NewJournalEntry], Meta(min_length=FEWEST_ENTRIES, max_length=MOST_ENTRIES)]
    reason: ReasonText
    effective_at: Moment | None = None
    metadata: dict[str, Any] | None = None
    relates_to_payment_id: str | None = None


class NewReversal(Struct, forbid_unknown_fields=True):
    """The opposite of a journal, once. It takes effect when it is posted, but never before the journal does."""

    external_id: str
    reason: ReasonText


class JournalEntry(Struct):
    """One entry in the ledger, with the balance after it; minor units."""

    account_id: str
    entry_number: int
    direction: str
    amount_minor: int
    balance_minor: int
    currency_code: str


class JournalBody(Struct):
    """A journal or a reversal in the ledger. A dry run writes none: no id, no times, the status `dry_run`."""

    journal_id: str | None
    external_id: str
    status: str
    kind: str
    entity_id: str
    reason: str | None
    entries: list[JournalEntry]
    effective_at: str | None
    posted_at: str | None
    metadata: dict[str, Any] | None
    reverses: str | None
    reversed_by: str | None
    relates_to_payment_id: str | None
    ledger_transaction: str | None


_new_journal = Body(NewJournal)
_new_reversal = Body(NewReversal)


@blueprint.post("/v1/journals")
@operation(
    "Post a journal at once; a replay of the same external_id answers 200",
    scope=Scope.JOURNALS_WRITE,
    body=NewJournal,
    answers={201: JournalBody, 200: JournalBody},
    parameters=("dry_run",),
)
def post_journal() -> Response:
    """Post; a dry run only says what would happen."""
    dry_run = is_dry_run()
    body = _new_journal.read()
    wanted = JournalRequest(
        external_id=body.external_id,
        lines=[JournalLine(one.account_id, one.direction == "debit", one.amount_minor) for one in body.entries],
        reason=body.reason,
        effective_at=in_utc(body.effective_at, "effective_at"),
        metadata=checked_metadata(body.metadata, LARGEST_METADATA),
        payment_id=body.relates_to_payment_id,
    )
    return _answer(services().journals.post(wanted, actor(), dry_run=dry_run))


@blueprint.get("/v1/journals/<journal_id>")
@operation("Read a journal or a reversal", scope=Scope.READ, answers={200: JournalBody})
def get_journal(journal_id: str) -> Response:
    """One journal."""
    found = services().journals.find(journal_id)
    return problem(journal_not_found(journal_id)) if found is None else json_response(_journal_body(found))


@blueprint.post("/v1/journals/<journal_id>/reversal")
@operation(
    "Reverse a journal, once, by the opposite of its entries",
    scope=Scope.JOURNALS_WRITE,
    body=NewReversal,
    answers={201: JournalBody, 200: JournalBody},
    parameters=("dry_run",),
)
def reverse_journal(journal_id: str) -> Response:
    """Reverse; a dry run only says what would happen."""
    dry_run = is_dry_run()
    body = _new_reversal.read()
    return _answer(services().journals.reverse(journal_id, body.external_id, body.reason, actor(), dry_run=dry_run))


def _answer(outcome: Done | Refusal) -> Response:
    if isinstance(outcome, Refusal):
        return problem(outcome)
    if outcome.is_dry_run:
        return json_response(_journal_body(outcome.transaction, is_rehearsed=True))
    response = json_response(_journal_body(outcome.transaction), 200 if outcome.replayed else 201)
    response.headers["Location"] = f"/v1/journals/{outcome.transaction.payment_id}"
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _journal_body(found: LedgerTransaction, *, is_rehearsed: bool = False) -> JournalBody:
    reversal = None if is_rehearsed else services().journals.reversal_of(found.payment_id)
    return JournalBody(
        journal_id=None if is_rehearsed else found.payment_id,
        external_id=found.external_id,
        status="dry_run" if is_rehearsed else "posted",
        kind=found.kind,
        entity_id=found.entity_id,
        reason=found.description,
        entries=[entry_body(entry) for entry in found.entries],
        effective_at=None if is_rehearsed else rfc3339(found.effective_at),
        posted_at=None if is_rehearsed else rfc3339(found.posted_at),
        metadata=found.metadata,
        reverses=found.relates_to if found.kind == Kind.REVERSAL else None,
        reversed_by=None if reversal is None else reversal.payment_id,
        relates_to_payment_id=found.relates_to if found.kind == Kind.JOURNAL else None,
        ledger_transaction=None if is_rehearsed else f"{found.partition}/{found.chain_seq}",
    )


def entry_body(entry: Entry) -> JournalEntry:
    """An entry of a journal or a refund as the API shows it."""
    return JournalEntry(
        account_id=entry.account_id,
        entry_number=entry.entry_number,
        direction="debit" if entry.amount_minor > 0 else "credit",
        amount_minor=abs(entry.amount_minor),
        balance_minor=entry.balance_minor,
        currency_code=entry.currency_code,
    )


class NewRefund(Struct, forbid_unknown_fields=True):
    """How much of a payment to take back, in minor units; all that remains by default."""

    external_id: str
    amount_minor: int | None = None
    reason: Annotated[str, Meta(max_length=1_000)] | None = None


class RefundBody(Struct):
    """A refund in the ledger; minor units. A dry run writes none: no id, no time, the status `dry_run`."""

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
    """Refund; a dry run only says what would happen."""
    dry_run = is_dry_run()
    body = _new_refund.read()
    outcome = services().refunds.refund(
        payment_id, body.external_id, body.amount_minor, body.reason, actor(), dry_run=dry_run
    )
    if isinstance(outcome, Refusal):
        return problem(outcome)
    if outcome.is_dry_run:
        return json_response(_refund_body(outcome.transaction, is_rehearsed=True))
    response = json_response(_refund_body(outcome.transaction), 200 if outcome.replayed else 201)
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.get("/v1/payments/<payment_id>/refunds")
@operation(
    "List the refunds of a payment, oldest first",
    scope=Scope.READ,
    answers={200: RefundBody},
    parameters=("limit", "after"),
)
def list_refunds(payment_id: str) -> Response:
    """One page of the refunds of one payment."""
    only_parameters("limit", "after")
    limit = page_limit()
    found = services().refunds.page(payment_id, limit=limit, after=after_number())
    if isinstance(found, Refusal):
        return problem(found)
    cursor = str(found[-1].chain_seq) if found else None
    return page_response([_refund_body(one) for one in found], limit, cursor)


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
