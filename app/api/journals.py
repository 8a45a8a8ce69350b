"""Journals and refunds: post, read and reverse a journal; refund a payment."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.entity_binding import require_visible_payment
from app.api.fields import (
    LARGEST_METADATA,
    Amount,
    Balance,
    Count,
    Description,
    Direction,
    Id,
    Metadata,
    Moment,
    Reason,
    WrittenStatus,
    direction_of,
    one_of,
)
from app.api.json_body import RequestObject, checked_metadata
from app.api.parameters import AFTER_NUMBER, DRY_RUN, IDEMPOTENT_REPLAYED, LIMIT, LOCATION, in_utc, within_calendar
from app.api.responses import REPLAYED, Answer, json_answer, page_answer, problem
from app.api.route_refusals import AMOUNT, MOVEMENT, REFUND
from app.api.routes import Body, Call, Routes
from app.domain.hash_chain import Entry, LedgerTransaction
from app.domain.journal_refusals import journal_not_found
from app.domain.journals import FEWEST_ENTRIES, JOURNAL_KINDS, MOST_ENTRIES, JournalLine, JournalRequest
from app.domain.payment import Kind
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.posting.journal_posting import PostedJournal

routes = Routes()

OF_NEW_JOURNAL = MOVEMENT | REFUND | {Code.ACCOUNTS_EQUAL, Code.JOURNAL_UNBALANCED, Code.JOURNAL_RETURNS_NOTHING}
OF_REVERSAL = MOVEMENT - AMOUNT | REFUND | {Code.JOURNAL_NOT_FOUND, Code.JOURNAL_ALREADY_REVERSED}


class NewJournalEntry(RequestObject):
    """One entry to post; minor units of the account's currency."""

    account_id: Id
    direction: Direction
    amount_minor: Amount


class NewJournal(RequestObject):
    """Entries to post together, each account once; debits and credits are equal in each currency.

    `effective_at` says as of when reports count it, in the past or in the future. It delays nothing: the balances
    change, and what is credited can be spent, when the journal is posted. Post later what must not be spent yet.

    `relates_to_payment_id` names a payment that the journal gives back, in whole or in part: what it credits to the
    payment's source can no longer be refunded.
    """

    external_id: Id
    entries: Annotated[list[NewJournalEntry], Meta(min_length=FEWEST_ENTRIES, max_length=MOST_ENTRIES)]
    reason: Reason
    effective_at: Moment | None = None
    metadata: Metadata | None = None
    relates_to_payment_id: Id | None = None


class NewReversal(RequestObject):
    """The opposite of a journal, once. It takes effect when it is posted, but never before the journal does."""

    external_id: Id
    reason: Reason


class JournalEntry(Struct):
    """One entry in the ledger, with the balance after it if the caller may read balances; minor units."""

    account_id: str
    entry_number: Count
    direction: Direction
    amount_minor: Amount
    currency_code: str
    balance_minor: Balance | UnsetType = UNSET


class JournalBody(Struct):
    """A journal or a reversal in the ledger. A dry run writes none: no id, no times, the status `dry_run`."""

    journal_id: str | None
    external_id: str
    status: WrittenStatus
    kind: Annotated[str, one_of(JOURNAL_KINDS)]
    entity_id: str
    reason: str | None
    entries: list[JournalEntry]
    effective_at: Moment | None
    posted_at: Moment | None
    metadata: Metadata | None
    reverses: str | None
    reversed_by: str | None
    relates_to_payment_id: str | None
    ledger_transaction: str | None


@routes.add(
    "POST",
    "/v1/journals",
    "Post a journal at once; a replay of the same external_id answers 200",
    scope=Scope.JOURNALS_WRITE,
    body=Body(NewJournal),
    answers={201: JournalBody, 200: JournalBody},
    parameters=(DRY_RUN,),
    sends=(LOCATION, IDEMPOTENT_REPLAYED),
    refuses=OF_NEW_JOURNAL | {Code.APPROVAL_NEEDED},
)
def post_journal(call: Call[NewJournal]) -> Answer:
    """Post; a dry run only says what would happen."""
    dry_run = call[DRY_RUN]
    require_visible_payment(call, call.body.relates_to_payment_id)
    return _answer(call, call.here.journals.post(journal_request(call), call.actor, dry_run=dry_run))


def journal_request(call: Call[NewJournal]) -> JournalRequest:
    """The journal that a body asks for."""
    body = call.body
    return JournalRequest(
        external_id=body.external_id,
        lines=[JournalLine(one.account_id, one.direction is Direction.DEBIT, one.amount_minor) for one in body.entries],
        reason=body.reason,
        effective_at=within_calendar(in_utc(body.effective_at, "effective_at"), "effective_at"),
        metadata=checked_metadata(body.metadata, LARGEST_METADATA),
        payment_id=body.relates_to_payment_id,
        entities=call.entities,
    )


@routes.add(
    "GET",
    "/v1/journals/{journal_id}",
    "Read a journal or a reversal",
    scope=Scope.ACCOUNTS_READ,
    answers={200: JournalBody},
    refuses=frozenset({Code.JOURNAL_NOT_FOUND}),
)
def get_journal(call: Call[None]) -> Answer:
    """One journal."""
    journal_id = call.path["journal_id"]
    found = call.here.journals.find(journal_id)
    return problem(journal_not_found(journal_id)) if found is None else json_answer(_journal_body(call, found))


@routes.add(
    "POST",
    "/v1/journals/{journal_id}/reversal",
    "Reverse a journal, once, by the opposite of its entries",
    scope=Scope.JOURNALS_WRITE,
    body=Body(NewReversal),
    answers={201: JournalBody, 200: JournalBody},
    parameters=(DRY_RUN,),
    sends=(LOCATION, IDEMPOTENT_REPLAYED),
    refuses=OF_REVERSAL | {Code.APPROVAL_NEEDED},
)
def reverse_journal(call: Call[NewReversal]) -> Answer:
    """Reverse; a dry run only says what would happen."""
    journal_id = call.path["journal_id"]
    dry_run = call[DRY_RUN]
    body = call.body
    outcome = call.here.journals.reverse(journal_id, body.external_id, body.reason, call.actor, dry_run=dry_run)
    return _answer(call, outcome)


def _answer(call: Call[Any], outcome: PostedJournal | Refusal) -> Answer:
    if isinstance(outcome, Refusal):
        return problem(outcome)
    if outcome.is_dry_run:
        return json_answer(_journal_body(call, outcome.transaction, is_dry_run=True))
    location = ("location", f"/v1/journals/{outcome.transaction.payment_id}")
    body = _journal_body(call, outcome.transaction)
    return json_answer(body, 200, location, REPLAYED) if outcome.replayed else json_answer(body, 201, location)


def _journal_body(call: Call[Any], found: LedgerTransaction, *, is_dry_run: bool = False) -> JournalBody:
    reversal = None if is_dry_run else call.here.journals.reversal_of(found.payment_id)
    return JournalBody(
        journal_id=None if is_dry_run else found.payment_id,
        external_id=found.external_id,
        status=WrittenStatus.DRY_RUN if is_dry_run else WrittenStatus.POSTED,
        kind=found.kind,
        entity_id=found.entity_id,
        reason=found.description,
        entries=[entry_body(entry, may_read=call.may_read) for entry in found.entries],
        effective_at=None if is_dry_run else rfc3339(found.effective_at),
        posted_at=None if is_dry_run else rfc3339(found.posted_at),
        metadata=found.metadata,
        reverses=found.relates_to if found.kind == Kind.REVERSAL else None,
        reversed_by=None if reversal is None else reversal.payment_id,
        relates_to_payment_id=found.relates_to if found.kind == Kind.JOURNAL else None,
        ledger_transaction=None if is_dry_run else f"{found.partition}/{found.chain_seq}",
    )


def entry_body(entry: Entry, *, may_read: bool) -> JournalEntry:
    """An entry of a journal or a refund as the API shows it; `may_read`: whether the caller may read balances."""
    return JournalEntry(
        account_id=entry.account_id,
        entry_number=entry.entry_number,
        direction=direction_of(entry.amount_minor),
        amount_minor=abs(entry.amount_minor),
        currency_code=entry.currency_code,
        balance_minor=entry.balance_minor if may_read else UNSET,
    )


class NewRefund(RequestObject):
    """How much of a payment to take back, in minor units; all that remains by default."""

    external_id: Id
    amount_minor: Amount | None = None
    reason: Description | None = None


class RefundBody(Struct):
    """A refund in the ledger; minor units. A dry run writes none: no id, no time, the status `dry_run`."""

    refund_id: str | None
    payment_id: str
    external_id: str
    amount_minor: Amount
    currency_code: str
    status: WrittenStatus
    reason: str | None
    entries: list[JournalEntry]
    posted_at: Moment | None
    ledger_transaction: str | None


@routes.add(
    "POST",
    "/v1/payments/{payment_id}/refunds",
    "Refund a payment, all that remains or a part; splits are taken back in proportion",
    scope=Scope.PAYMENTS_WRITE,
    body=Body(NewRefund),
    answers={201: RefundBody, 200: RefundBody},
    parameters=(DRY_RUN,),
    sends=(IDEMPOTENT_REPLAYED,),
    refuses=MOVEMENT | REFUND,
)
def refund_payment(call: Call[NewRefund]) -> Answer:
    """Refund; a dry run only says what would happen."""
    payment_id = call.path["payment_id"]
    dry_run = call[DRY_RUN]
    body = call.body
    outcome = call.here.refunds.refund(
        payment_id, body.external_id, body.amount_minor, body.reason, call.actor, dry_run=dry_run
    )
    if isinstance(outcome, Refusal):
        return problem(outcome)
    if outcome.is_dry_run:
        return json_answer(_refund_body(call, outcome.transaction, is_dry_run=True))
    refund = _refund_body(call, outcome.transaction)
    return json_answer(refund, 200, REPLAYED) if outcome.replayed else json_answer(refund, 201)


@routes.add(
    "GET",
    "/v1/payments/{payment_id}/refunds",
    "List the refunds of a payment, oldest first",
    scope=Scope.PAYMENTS_READ,
    answers={200: RefundBody},
    parameters=(LIMIT, AFTER_NUMBER),
    paged=True,
    refuses=frozenset({Code.PAYMENT_NOT_FOUND}),
)
def list_refunds(call: Call[None]) -> Answer:
    """One page of the refunds of one payment."""
    limit = call[LIMIT]
    found = call.here.refunds.page(call.path["payment_id"], limit=limit, after=call[AFTER_NUMBER])
    if isinstance(found, Refusal):
        return problem(found)
    cursor = str(found[-1].chain_seq) if found else None
    return page_answer([_refund_body(call, one) for one in found], limit, cursor)


def _refund_body(call: Call[Any], found: LedgerTransaction, *, is_dry_run: bool = False) -> RefundBody:
    source = found.entries[-1]
    return RefundBody(
        refund_id=None if is_dry_run else found.payment_id,
        payment_id=found.relates_to or "",
        external_id=found.external_id,
        amount_minor=-source.amount_minor,
        currency_code=source.currency_code,
        status=WrittenStatus.DRY_RUN if is_dry_run else WrittenStatus.POSTED,
        reason=found.description,
        entries=[entry_body(entry, may_read=call.may_read) for entry in found.entries],
        posted_at=None if is_dry_run else rfc3339(found.posted_at),
        ledger_transaction=None if is_dry_run else f"{found.partition}/{found.chain_seq}",
    )
