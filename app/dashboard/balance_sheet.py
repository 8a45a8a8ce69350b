"""The balance sheet: assets against liabilities, equity and results, proved against the trial balance."""

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money
from app.dashboard.periods import asked_statements
from app.dashboard.requests import Filters
from app.domain.report_rows import SHEET_HEAD, sheet_rows

pages = Blueprint("balance_sheet", __name__)


@pages.get("/reports/balance-sheet")
def page() -> str | Response:
    """The report; `format=csv` is the same as a file. The trial balance lists its accounts."""
    filters = Filters()
    asked, currency_code, found = asked_statements(filters)
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"balance-sheet-{asked.name}", SHEET_HEAD, sheet_rows(found, exact_money))
    return render_template(
        "balance_sheet.html",
        statements=found,
        asked=asked,
        currency_code=currency_code,
        currencies=here().currencies(),
        filters=filters,
    )
