"""Repairs of the cache: what the repair of a break would change, and asking for it."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from app.api.breaks import break_id_of
from app.api.fields import Count, Reason
from app.api.json_body import NO_NUL, RequestObject
from app.api.reconciliation import ProofRequestBody, request_body
from app.api.responses import Answer, json_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.proof_requests import RepairPreview
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.reservations import Funds
from app.services.access.api_keys import Scope

routes = Routes()


class FundsBody(Struct):
    """An account's funds, in minor units; the floor is null where there is none."""

    balance_minor: int
    held_minor: int
    floor_minor: int | None
    available_minor: int
    version: int


class RepairPreviewBody(Struct):
    """An account in the cache as it is and as a repair would make it. Nothing is changed yet.

    `now` is null where the cache does not have the account, `then` where the ledger does not. The ledger's balance is
    taken at the entry that the cache knows. `holds` stay or come back, by payment id, and nothing explains those that
    are `freed`. `token` stands for all of it: ask for the repair with it. While the ledger itself is `in_doubt`,
    nothing is repaired.
    """

    break_id: str
    account_id: str
    currency_code: str | None
    at_entry: Count | None
    now: FundsBody | None
    then: FundsBody | None
    holds: dict[str, int]
    freed: dict[str, int]
    in_doubt: bool
    token: str


class NewRepair(RequestObject):
    """A repair to ask for: why, which is kept for ever, and the token of the preview that was seen."""

    reason: Reason
    token: Annotated[str, Meta(min_length=1, max_length=64, extra_json_schema={"pattern": NO_NUL})]


@routes.add(
    "GET",
    "/v1/breaks/{break_id}/repair",
    "See what the repair of a break would change in the cache",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: RepairPreviewBody},
    refuses=frozenset({Code.NOT_FOUND, Code.BREAK_NOT_REPAIRABLE}),
)
def preview_repair(call: Call[None]) -> Answer:
    """The account as it is, and as a repair would make it."""
    outcome = call.here.proof_requests.preview(break_id_of(call))
    return problem(outcome) if isinstance(outcome, Refusal) else json_answer(_preview(call, outcome))


@routes.add(
    "POST",
    "/v1/breaks/{break_id}/repair",
    "Ask for the repair that was shown: everything is reconciled, the account is rebuilt, and looked at again",
    scope=Scope.ADMIN,
    of_installation=True,
    body=Body(NewRepair),
    answers={202: ProofRequestBody},
    refuses=frozenset({Code.NOT_FOUND, Code.BREAK_NOT_REPAIRABLE, Code.PRECONDITION_FAILED}),
)
def repair_break(call: Call[NewRepair]) -> Answer:
    """Ask for a repair."""
    outcome = call.here.proof_requests.ask_repair(break_id_of(call), call.body.reason, call.body.token, call.actor)
    return problem(outcome) if isinstance(outcome, Refusal) else json_answer(request_body(outcome), 202)


def _preview(call: Call[Any], one: RepairPreview) -> RepairPreviewBody:
    return RepairPreviewBody(
        break_id=call.path["break_id"],
        account_id=one.account_id,
        currency_code=one.currency_code,
        at_entry=one.at_entry,
        now=_funds(one.now),
        then=_funds(one.then),
        holds=dict(one.holds),
        freed=dict(one.freed),
        in_doubt=one.in_doubt,
        token=one.token,
    )


def _funds(funds: Funds | None) -> FundsBody | None:
    if funds is None:
        return None
    return FundsBody(funds.balance_minor, funds.held_minor, funds.floor_minor, funds.available_minor, funds.version)
