"""The income statement: revenue less expenses of a period, proved against the trial balance."""

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money
from app.dashboard.frame import for_print
from app.dashboard.periods import asked_statements
from app.dashboard.requests import Filters
from app.domain.report_rows import INCOME_HEAD, income_rows

pages = Blueprint("income_statement", __name__)

LISTED = 20
"""Accounts of each type that the page lists; the rest is one line."""
LISTED_IN_PRINT = 500


@pages.get("/reports/income-statement")
def page() -> str | Response:
    """The report; `format=csv` is every account of it."""
    filters = Filters()
    asked, currency_code, found = asked_statements(filters)
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"income-statement-{asked.name}", INCOME_HEAD, income_rows(found, exact_money))
    return render_template(
        "income_statement.html",
        statements=[one for one in found if one.accounts],
        asked=asked,
        currency_code=currency_code,
        currencies=here().currencies(),
        most=LISTED_IN_PRINT if for_print() else LISTED,
        filters=filters,
    )
