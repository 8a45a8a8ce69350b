"""The balance sheet: assets against liabilities, equity and results, proved against the trial balance."""

from collections.abc import Iterator

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money
from app.dashboard.periods import asked_statements
from app.dashboard.requests import Filters
from app.domain.csv_export import Value
from app.domain.financial_statements import CurrencyStatements

pages = Blueprint("balance_sheet", __name__)

HEAD = ("currency_code", "line", "amount")
LINES = ("asset", "liability", "equity", "brought_forward", "result", "difference")


@pages.get("/reports/balance-sheet")
def page() -> str | Response:
    """The report; `format=csv` is the same as a file. The trial balance lists its accounts."""
    filters = Filters()
    asked, currency_code, found = asked_statements(filters)
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"balance-sheet-{asked.name}", HEAD, _rows(found))
    return render_template(
        "balance_sheet.html",
        statements=found,
        asked=asked,
        currency_code=currency_code,
        currencies=here().currencies(),
        filters=filters,
    )


def _rows(found: list[CurrencyStatements]) -> Iterator[tuple[Value, ...]]:
    for one in found:
        for line in LINES:
            yield (one.currency_code, line, exact_money(getattr(one, f"{line}_minor"), one.currency_code))
