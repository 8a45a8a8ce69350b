"""The trial balance: per entity and currency, as of any moment, by effective or posted time."""

from typing import Any

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money, read_moment
from app.dashboard.frame import entity, for_print
from app.dashboard.requests import Filters
from app.domain.read_models import AsOf, TimeBasis
from app.domain.report_rows import TRIAL_HEAD, trial_row
from app.services.proofs.trial_balance import every_line

pages = Blueprint("trial_balance", __name__)

LISTED = 20
"""Accounts of each type that the page lists; the rest is one line, which leads to them."""
LISTED_IN_PRINT = 500


@pages.get("/reports/trial-balance")
def page() -> str | Response:
    """The report; `format=csv` is every account of it."""
    filters = Filters()
    at = filters.read("as_of", lambda text: read_moment(text, is_end=True))
    basis = filters.choice("by", TimeBasis) or TimeBasis.POSTED
    as_of = None if at is None else AsOf(at, basis)
    currency_code = filters.text("currency_code") or None
    if filters.text("format") == "csv" and not filters.errors:
        lines = every_line(here().api.history, entity_id=entity(), currency_code=currency_code, as_of=as_of)
        rows = (trial_row(line, exact_money) for line in lines)
        return csv_answer(f"trial-balance-{at or here().now():%Y-%m-%d}", TRIAL_HEAD, rows)
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
