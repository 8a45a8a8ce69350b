"""Balance sheet and income statement over a period, each with its proof against the trial balance."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from app.api.fields import MOMENT_SCHEMA, Balance, Count, Moment, Total
from app.api.json_body import malformed
from app.api.parameters import (
    AS_OF,
    BY,
    CURRENCY,
    ENTITY,
    LIMIT,
    instant,
    refuse_decomposed_parameters,
    within_calendar,
)
from app.api.responses import Answer, json_answer
from app.api.routes import Call, Parameter, Routes
from app.domain.accounts import AccountType
from app.domain.financial_statements import CurrencyStatements, Period, ResultAccount
from app.domain.read_models import TimeBasis
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

FROM: Parameter[datetime | None] = Parameter(
    "from", instant("from"), None, MOMENT_SCHEMA, "When the period begins; without it, at the first entry."
)
TO: Parameter[datetime | None] = Parameter(
    "to", instant("to"), None, MOMENT_SCHEMA, "When it ends, in milliseconds; without it, now."
)


class ProofBody(Struct):
    """What a statement says beyond the trial balance at the same moment, minor units: zeros where it is proved."""

    proved: bool
    revenue_difference_minor: Total
    expense_difference_minor: Total
    trial_balance_difference_minor: Total


class BalanceSheetBody(Struct):
    """One currency; minor units, each type on its own side.

    Assets equal liabilities, equity, the result brought forward and that of the period; `difference_minor` is what they
    exceed them by.
    """

    currency_code: str
    asset_minor: Total
    liability_minor: Total
    equity_minor: Total
    brought_forward_minor: Total
    result_minor: Total
    difference_minor: Total
    proof: ProofBody


class BalanceSheetsBody(Struct):
    """The balance sheet of each currency. Results of before `from` stand apart; without `from` there are none."""

    as_of: Moment | None
    period_begins_at: Moment | None
    by: TimeBasis
    data: list[BalanceSheetBody]


class ResultAccountBody(Struct):
    """A revenue or expense account on its own side: before the period, in it, and at its end; minor units."""

    account_id: str
    entity_id: str
    type: AccountType
    opening_minor: Balance
    movement_minor: Total
    closing_minor: Balance


class IncomeStatementBody(Struct):
    """One currency; minor units. The result is revenue less expenses; `accounts` are up to `limit` with a movement."""

    currency_code: str
    revenue_minor: Total
    expense_minor: Total
    result_minor: Total
    account_count: Count
    accounts: list[ResultAccountBody]
    proof: ProofBody


class IncomeStatementsBody(Struct):
    """The income statement of each currency in which there are revenue or expense accounts with entries."""

    period_begins_at: Moment | None
    period_ends_at: Moment | None
    by: TimeBasis
    data: list[IncomeStatementBody]


@routes.add(
    "GET",
    "/v1/reports/balance-sheet",
    "Balance sheet by account type, now or as of an instant, proved against the trial balance",
    scope=Scope.REPORTS_READ,
    answers={200: BalanceSheetsBody},
    parameters=(ENTITY, CURRENCY, FROM, AS_OF, BY),
)
def balance_sheet(call: Call[None]) -> Answer:
    """Assets, liabilities, equity and results."""
    period = _period(call, AS_OF)
    data = [_sheet(one) for one in _read(call, period)]
    return json_answer(BalanceSheetsBody(_time(period.ends_at), _time(period.begins_at), period.by, data))


@routes.add(
    "GET",
    "/v1/reports/income-statement",
    "Income statement of a period by account type, proved against the trial balance",
    scope=Scope.REPORTS_READ,
    answers={200: IncomeStatementsBody},
    parameters=(ENTITY, CURRENCY, FROM, TO, BY, LIMIT),
)
def income_statement(call: Call[None]) -> Answer:
    """Revenue, expenses and the result."""
    period = _period(call, TO)
    data = [_income(one, call[LIMIT]) for one in _read(call, period) if one.accounts]
    return json_answer(IncomeStatementsBody(_time(period.begins_at), _time(period.ends_at), period.by, data))


def _period(call: Call[Any], end: Parameter[datetime | None]) -> Period:
    period = Period(call[FROM], within_calendar(call[end], end.name), call[BY] or TimeBasis.EFFECTIVE)
    if period.is_backwards:
        raise malformed(f"{end.name} lies before from.", field=end.name)
    return period


def _read(call: Call[Any], period: Period) -> list[CurrencyStatements]:
    found = call.here.financial_statements.read(
        period, entity_id=call[ENTITY], currency_code=call[CURRENCY], entities=call.entities
    )
    if not found:
        refuse_decomposed_parameters(call, ENTITY)
    return found


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _sheet(one: CurrencyStatements) -> BalanceSheetBody:
    return BalanceSheetBody(
        one.currency_code,
        one.asset_minor,
        one.liability_minor,
        one.equity_minor,
        one.brought_forward_minor,
        one.result_minor,
        one.difference_minor,
        _proof(one),
    )


def _income(one: CurrencyStatements, limit: int) -> IncomeStatementBody:
    moved = [account for account in one.accounts if account.movement_minor]
    return IncomeStatementBody(
        one.currency_code,
        one.revenue_minor,
        one.expense_minor,
        one.result_minor,
        len(one.accounts),
        [_account(account) for account in moved[:limit]],
        _proof(one),
    )


def _account(one: ResultAccount) -> ResultAccountBody:
    return ResultAccountBody(
        one.account_id,
        one.entity_id,
        AccountType(one.type),
        one.opening_minor,
        one.movement_minor,
        one.closing_minor,
    )


def _proof(one: CurrencyStatements) -> ProofBody:
    return ProofBody(
        one.is_proved, one.revenue_difference_minor, one.expense_difference_minor, one.trial_difference_minor
    )
