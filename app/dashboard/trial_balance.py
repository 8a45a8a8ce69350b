"""The trial balance: per entity and currency, as of any moment, by effective or posted time."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money, read_moment
from app.dashboard.frame import entity, for_print
from app.dashboard.requests import Filters
from app.domain.csv_export import Value
from app.domain.read_models import AsOf, ReportCursor, TimeBasis, TrialBalanceLine

pages = Blueprint("trial_balance", __name__)

LISTED = 20
"""Accounts of each type that the page lists; the rest is one line, which leads to them."""
LISTED_IN_PRINT = 500
PIECE = 1_000
HEAD = ("account_id", "entity_id", "type", "currency_code", "debit", "credit")


@pages.get("/reports/trial-balance")
def page() -> str | Response:
    """The report; `format=csv` is every account of it."""
    filters = Filters()
    at = filters.read("as_of", lambda text: read_moment(text, is_end=True))
    basis = filters.choice("by", TimeBasis) or TimeBasis.POSTED
    as_of = None if at is None else AsOf(at, basis)
    currency_code = filters.text("currency_code") or None
    if filters.text("format") == "csv" and not filters.errors:
        name = f"trial-balance-{at or here().now():%Y-%m-%d}"
        return csv_answer(name, HEAD, _rows(entity(), currency_code, as_of))
    balances = []
    if not filters.errors:
        balances = here().trial_balances.read(
            entity_id=entity(),
            currency_code=currency_code,
            as_of=as_of,
            begins_with=filters.text("account_id"),
            most=LISTED_IN_PRINT if for_print() else LISTED,
        )
    return render_template(
        "trial_balance.html",
        balances=balances,
        as_of=as_of,
        basis=basis,
        currency_code=currency_code,
        currencies=here().currencies(),
        names=_names([one.currency_code for one in balances]),
        filters=filters,
    )


def _names(currency_codes: list[str]) -> dict[str, Any]:
    return {code: here().api.assets.get(code) for code in currency_codes}


def _rows(entity_id: str | None, currency_code: str | None, as_of: AsOf | None) -> Iterator[tuple[Value, ...]]:
    """Every account, from one moment of the ledger."""
    history, cursor = here().api.history, None
    while True:
        _, lines, moment = history.trial_balance(
            entity_id=entity_id, currency_code=currency_code, limit=PIECE, as_of=as_of, cursor=cursor
        )
        yield from map(_row, lines)
        if len(lines) < PIECE:
            return
        cursor = ReportCursor(lines[-1].account_id, moment)


def _row(line: TrialBalanceLine) -> tuple[Value, ...]:
    code = line.currency_code
    sides = (exact_money(line.debit_minor or None, code), exact_money(line.credit_minor or None, code))
    return (line.account_id, line.entity_id, line.type, code, *sides)
