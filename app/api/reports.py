"""Reports for finance: trial balance, conflicts."""

from datetime import datetime, timedelta

from msgspec import Struct

from app.api.fields import MOMENT_SCHEMA, Balance, Count, Moment, Total
from app.api.parameters import AS_OF, BY, CURRENCY, ENTITY, LIMIT, as_of, instant, refuse_decomposed_parameters
from app.api.request_refusals import invalid_cursor
from app.api.responses import Answer, Refused, json_answer
from app.api.routes import Call, Parameter, Routes
from app.domain.accounts import AccountType
from app.domain.read_models import ReportCursor, TrialBalanceLine, TrialBalanceTotal, parse_cursor
from app.domain.refusals import RefusalCode
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope


def _report_cursor(text: str) -> ReportCursor:
    try:
        return parse_cursor(text)
    except ValueError:
        raise Refused(invalid_cursor("after", "be a cursor from `next`")) from None


AFTER_LINE: Parameter[ReportCursor | None] = Parameter(
    "after",
    _report_cursor,
    None,
    {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    "The cursor from `next`.",
    refuses=(RefusalCode.INVALID_CURSOR,),
)

routes = Routes()


class TrialBalanceTotalBody(Struct):
    """One currency's totals in minor units; a balanced ledger has a difference of zero."""

    currency_code: str
    debit_minor: Total
    credit_minor: Total
    difference_minor: Total
    account_count: Count
    balanced: bool


class TrialBalanceLineBody(Struct):
    """One account, its balance on its own side; minor units."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    debit_minor: Balance
    credit_minor: Balance


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
    retries: Count
    exhausted: Count
    last_at: Moment


@routes.add(
    "GET",
    "/v1/reports/trial-balance",
    "Trial balance, now or as of an instant: per account and in total, debits equal credits",
    scope=Scope.REPORTS_READ,
    answers={200: TrialBalanceBody},
    parameters=(ENTITY, CURRENCY, LIMIT, AFTER_LINE, AS_OF, BY),
)
def trial_balance(call: Call[None]) -> Answer:
    """The trial balance now or as of another instant."""
    limit = call[LIMIT]
    totals, lines, moment = call.here.history.trial_balance(
        entity_id=call[ENTITY],
        entities=call.entities,
        currency_code=call[CURRENCY],
        limit=limit,
        cursor=call[AFTER_LINE],
        as_of=as_of(call, AS_OF),
    )
    if not totals:
        refuse_decomposed_parameters(call, ENTITY)
    return json_answer(
        TrialBalanceBody(
            [_total_body(total) for total in totals],
            [_line_body(line) for line in lines],
            ReportCursor(lines[-1].account_id, moment).text if len(lines) == limit else None,
        )
    )


def _total_body(total: TrialBalanceTotal) -> TrialBalanceTotalBody:
    difference = total.debit_minor - total.credit_minor
    return TrialBalanceTotalBody(
        total.currency_code, total.debit_minor, total.credit_minor, difference, total.account_count, difference == 0
    )


def _line_body(line: TrialBalanceLine) -> TrialBalanceLineBody:
    return TrialBalanceLineBody(
        line.account_id, line.entity_id, AccountType(line.type), line.currency_code, line.debit_minor, line.credit_minor
    )


class ConflictHourBody(Struct):
    """What was counted for an account in the hour that begins at `hour`: retries, and how long postings waited, in ms.

    In one hour up to 200 accounts are told apart; the others are added up as `(others)`. Counts are kept for a month.
    """

    hour: Moment
    account_id: str
    retries: Count
    exhausted: Count
    queued_ms: Count
    longest_ms: Count


FROM: Parameter[datetime | None] = Parameter(
    "from", instant("from"), None, MOMENT_SCHEMA, "Hours that begin at this instant or later."
)
TO: Parameter[datetime | None] = Parameter("to", instant("to"), None, MOMENT_SCHEMA, "Hours that begin before this.")


@routes.add(
    "GET",
    "/v1/reports/conflict-hours",
    "Where postings waited for each other, by account and hour, the newest hour first; by default of the last day",
    scope=Scope.REPORTS_READ,
    answers={200: ConflictHourBody},
    parameters=(FROM, TO, LIMIT),
    paged=True,
)
def conflict_hours(call: Call[None]) -> Answer:
    """The counts of some hours."""
    to_time = call[TO] or call.here.now()
    from_time = call[FROM] or call.here.now() - timedelta(days=1)
    counted = call.here.operations.conflict_hours(from_time, to_time, limit=call[LIMIT], entities=call.entities)
    data = [
        ConflictHourBody(
            rfc3339(one.hour),
            one.account_id,
            one.retries,
            one.exhausted,
            round(one.queued_us / 1000),
            round(one.longest_us / 1000),
        )
        for one in counted
    ]
    return json_answer({"data": data, "next": None})


@routes.add(
    "GET",
    "/v1/reports/conflicts",
    "The accounts on which posting had to retry most",
    scope=Scope.REPORTS_READ,
    answers={200: ConflictBody},
    parameters=(LIMIT,),
    paged=True,
)
def conflicts(call: Call[None]) -> Answer:
    """The accounts with the most retries, most first."""
    counts = call.here.history.conflicts(call[LIMIT], call.entities)
    data = [ConflictBody(count.account_id, count.retries, count.exhausted, rfc3339(count.last_at)) for count in counts]
    return json_answer({"data": data, "next": None})
