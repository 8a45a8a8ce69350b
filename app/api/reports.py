"""Reports for finance: trial balance, conflicts."""

from flask import Blueprint, Response, request
from msgspec import Struct

from app.api.auth import operation
from app.api.context import services
from app.api.request_refusals import invalid_cursor
from app.api.requests import instant, only_parameters, page_limit, refuse_decomposed_parameters
from app.api.responses import Refused, json_response
from app.domain.cursors import ReportCursor, parse_cursor
from app.domain.read_models import TrialBalanceLine, TrialBalanceTotal
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

blueprint = Blueprint("reports", __name__)


class TrialBalanceTotalBody(Struct):
    """One currency's totals in minor units; a balanced ledger has a difference of zero."""

    currency_code: str
    debit_minor: int
    credit_minor: int
    difference_minor: int
    account_count: int
    balanced: bool


class TrialBalanceLineBody(Struct):
    """One account, its balance on its own side; minor units."""

    account_id: str
    entity_id: str
    type: str
    currency_code: str
    debit_minor: int
    credit_minor: int


class TrialBalanceBody(Struct):
    """Totals over all accounts asked for, and one page of them.

    The pages of a walk are all of the moment of its first page, so their lines add up to the totals however much is
    posted meanwhile. A walk that begins without `after` begins at a new moment.
    """

    totals: list[TrialBalanceTotalBody]
    data: list[TrialBalanceLineBody]
    next: str | None


class ConflictBody(Struct):
    """How often posting had to retry for an account, and how often it ran out of retries."""

    account_id: str
    retries: int
    exhausted: int
    last_at: str


@blueprint.get("/v1/reports/trial-balance")
@operation(
    "Trial balance, now or as of an instant: per account and in total, debits equal credits",
    scope=Scope.READ,
    answers={200: TrialBalanceBody},
    parameters=("entity_id", "currency_code", "limit", "after", "as_of", "by"),
)
def trial_balance() -> Response:
    """The trial balance now or as of another instant."""
    only_parameters("entity_id", "currency_code", "limit", "after", "as_of", "by")
    limit = page_limit()
    cursor = _cursor()
    totals, lines, moment = services().history.trial_balance(
        entity_id=request.args.get("entity_id"),
        currency_code=request.args.get("currency_code"),
        limit=limit,
        cursor=cursor,
        as_of=instant("as_of"),
    )
    if not totals:
        refuse_decomposed_parameters("entity_id")
    return json_response(
        TrialBalanceBody(
            [_total_body(total) for total in totals],
            [_line_body(line) for line in lines],
            ReportCursor(lines[-1].account_id, moment).text if len(lines) == limit else None,
        )
    )


def _cursor() -> ReportCursor | None:
    text = request.args.get("after")
    try:
        return None if text is None else parse_cursor(text)
    except ValueError:
        raise Refused(invalid_cursor("after", "be a cursor from `next`")) from None


def _total_body(total: TrialBalanceTotal) -> TrialBalanceTotalBody:
    difference = total.debit_minor - total.credit_minor
    return TrialBalanceTotalBody(
        total.currency_code, total.debit_minor, total.credit_minor, difference, total.account_count, difference == 0
    )


def _line_body(line: TrialBalanceLine) -> TrialBalanceLineBody:
    return TrialBalanceLineBody(
        line.account_id, line.entity_id, line.type, line.currency_code, line.debit_minor, line.credit_minor
    )


@blueprint.get("/v1/reports/conflicts")
@operation(
    "The accounts on which posting had to retry most",
    scope=Scope.READ,
    answers={200: ConflictBody},
    parameters=("limit",),
)
def conflicts() -> Response:
    """The accounts with the most retries, most first."""
    only_parameters("limit")
    counts = services().history.conflicts(page_limit())
    data = [ConflictBody(count.account_id, count.retries, count.exhausted, rfc3339(count.last_at)) for count in counts]
    return json_response({"data": data, "next": None})
