"""Sign-offs: what bank and ledger say of a period, signing it, and reopening it for a new version."""

from datetime import date
from typing import Annotated, Any

from msgspec import Meta, Struct

from app.api.fields import Count, Moment, Reason, Total, number_of, one_of
from app.api.json_body import NO_NUL, RequestObject
from app.api.responses import Answer, Refused, json_answer, problem
from app.api.routes import Body, Call, Parameter, Routes
from app.api.statement_accounts import Day, day_of, statement_account_of
from app.domain.match_refusals import sign_off_not_found
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.sign_off import PeriodFigures, SignOff, SignOffAction
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

LAST_DAY: Parameter[date | None] = Parameter(
    "last_on",
    lambda text: day_of(text, "last_on"),
    None,
    {"type": "string", "format": "date"},
    "The last day of the period; it begins after what is signed off.",
    required=True,
)


class PeriodBody(Struct):
    """Both sides of a period: opening + movements = closing, and what explains the difference; minor units.

    `opening` says whether the bank states its opening balance, or it is derived from the first closing one, or assumed.
    `missing` says what bars a signature. `figures` are all that would be signed, with each day and what is outstanding.
    """

    first_on: str
    last_on: str
    opening: str
    bank_opening_minor: Total
    bank_in_minor: Total
    bank_out_minor: Total
    bank_closing_minor: Total
    ledger_opening_minor: Total
    ledger_in_minor: Total
    ledger_out_minor: Total
    ledger_closing_minor: Total
    only_bank_minor: Total
    only_ledger_minor: Total
    match_difference_minor: Total
    brought_forward_minor: Total
    unexplained_minor: Total
    outstanding_count: Count
    missing: list[str]
    figures: dict[str, Any]


class NewSignOff(RequestObject):
    """Sign off everything after what is signed, through `last_on`. A `remark` is kept with it."""

    last_on: Day
    remark: Annotated[str, Meta(max_length=1_000, extra_json_schema={"pattern": NO_NUL})] = ""


class Reopening(RequestObject):
    """Why the last signed period is opened again."""

    reason: Reason


class SignOffBody(Struct):
    """A record of the chain of an account: a signed period, or its reopening.

    A new version names the old one by `former_id`. `hash` covers all of it and `previous_hash`, the record before.
    """

    sign_off_id: str
    number: int
    action: Annotated[str, one_of([one.value for one in SignOffAction])]
    first_on: str
    last_on: str
    version: int
    former_id: str | None
    signed_through: str | None
    summary: dict[str, Any]
    reason: str
    signed_by: str
    signed_at: Moment
    previous_hash: str
    hash: str


@routes.add(
    "GET",
    "/v1/statement-accounts/{statement_account_id}/period",
    "What bank and ledger say of the next period to sign off, and what bars a signature",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: PeriodBody},
    parameters=(LAST_DAY,),
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_period(call: Call[None]) -> Answer:
    """The figures of the next period."""
    account = statement_account_of(call)
    last_on = call[LAST_DAY]
    assert last_on is not None
    return json_answer(_period(call.here.sign_offs.next_period(account, last_on)))


@routes.add(
    "GET",
    "/v1/statement-accounts/{statement_account_id}/sign-offs",
    "Everything that was signed off or reopened, in order",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: SignOffBody},
    refuses=frozenset({Code.NOT_FOUND}),
    paged=True,
)
def list_sign_offs(call: Call[None]) -> Answer:
    """The whole chain: an account has one for each month, say."""
    account = statement_account_of(call)
    chain = call.here.sign_offs.chain(account.statement_account_id)
    return json_answer({"data": [_body(one) for one in chain], "next": None})


@routes.add(
    "POST",
    "/v1/statement-accounts/{statement_account_id}/sign-offs",
    "Sign off a period: from then on it stays as it is",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(NewSignOff),
    answers={201: SignOffBody},
    refuses=frozenset({Code.NOT_FOUND, Code.SIGN_OFF_INCOMPLETE}),
)
def sign_off(call: Call[NewSignOff]) -> Answer:
    """Sign."""
    account = statement_account_of(call)
    last_on = day_of(call.body.last_on, "last_on")
    assert last_on is not None
    signed = call.here.sign_offs.sign(account.statement_account_id, last_on, call.body.remark, call.actor)
    return problem(signed) if isinstance(signed, Refusal) else json_answer(_body(signed), 201)


@routes.add(
    "POST",
    "/v1/statement-accounts/{statement_account_id}/sign-offs/{sign_off_id}/reopen",
    "Open the last signed period again; its next version names this one",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(Reopening),
    answers={201: SignOffBody},
    refuses=frozenset({Code.NOT_FOUND, Code.SIGN_OFF_INCOMPLETE}),
)
def reopen_sign_off(call: Call[Reopening]) -> Answer:
    """Reopen."""
    account = statement_account_of(call)
    number = number_of(call.path["sign_off_id"])
    if number is None:
        raise Refused(sign_off_not_found(call.path["sign_off_id"]))
    opened = call.here.sign_offs.reopen(account.statement_account_id, number, call.body.reason, call.actor)
    return problem(opened) if isinstance(opened, Refusal) else json_answer(_body(opened), 201)


def _period(figures: PeriodFigures) -> PeriodBody:
    return PeriodBody(
        first_on=figures.first_on.isoformat(),
        last_on=figures.last_on.isoformat(),
        opening=figures.opening.value,
        bank_opening_minor=figures.bank_opening_minor,
        bank_in_minor=figures.bank_in_minor,
        bank_out_minor=figures.bank_out_minor,
        bank_closing_minor=figures.bank_closing_minor,
        ledger_opening_minor=figures.ledger_opening_minor,
        ledger_in_minor=figures.ledger_in_minor,
        ledger_out_minor=figures.ledger_out_minor,
        ledger_closing_minor=figures.ledger_closing_minor,
        only_bank_minor=figures.only_bank_minor,
        only_ledger_minor=figures.only_ledger_minor,
        match_difference_minor=figures.match_difference_minor,
        brought_forward_minor=figures.brought_forward_minor,
        unexplained_minor=figures.unexplained_minor,
        outstanding_count=figures.only_bank_count + figures.only_ledger_count,
        missing=figures.missing(),
        figures=figures.as_json(),
    )


def _body(one: SignOff) -> SignOffBody:
    return SignOffBody(
        sign_off_id=str(one.sign_off_id),
        number=one.number,
        action=one.action.value,
        first_on=one.first_on.isoformat(),
        last_on=one.last_on.isoformat(),
        version=one.version,
        former_id=None if one.former_id is None else str(one.former_id),
        signed_through=None if one.signed_through is None else one.signed_through.isoformat(),
        summary=dict(one.figures()),
        reason=one.reason,
        signed_by=one.signed_by,
        signed_at=rfc3339(one.signed_at),
        previous_hash=one.previous_hash.hex(),
        hash=one.hash.hex(),
    )
