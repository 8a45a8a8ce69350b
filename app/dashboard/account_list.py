"""The directory: accounts with their balances, by the beginning of their ids and by filters, a page at a time."""

from collections.abc import Iterator

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money
from app.dashboard.frame import entity, for_print
from app.dashboard.requests import Filters
from app.domain.account_lists import AccountFilter, ListedAccount
from app.domain.accounts import AccountStatus, AccountType
from app.domain.csv_export import Value

pages = Blueprint("account_list", __name__)

LISTED = 50
LISTED_IN_PRINT = 500
PIECE = 1_000
HEAD = ("account_id", "name", "entity_id", "type", "currency_code", "status", "balance", "entries")


@pages.get("/accounts")
def page() -> str | Response:
    """One page of the directory; `format=csv` is all of it."""
    filters = Filters()
    wanted = AccountFilter(
        begins_with=filters.text("begins_with"),
        entity_id=entity(),
        type=filters.choice("type", AccountType),
        currency_code=filters.text("currency_code") or None,
        status=filters.choice("status", AccountStatus),
    )
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"accounts-{here().now():%Y-%m-%d}", HEAD, _rows(wanted))
    limit = LISTED_IN_PRINT if for_print() else LISTED
    found = here().lists.accounts(wanted, limit=limit + 1, after=filters.text("after") or None)
    return render_template(
        "account_list.html",
        accounts=found[:limit],
        next_after=found[limit - 1].account_id if len(found) > limit else None,
        wanted=wanted,
        types=list(AccountType),
        statuses=list(AccountStatus),
        currencies=here().currencies(),
        filters=filters,
    )


def _rows(wanted: AccountFilter) -> Iterator[tuple[Value, ...]]:
    after = None
    while found := here().lists.accounts(wanted, limit=PIECE, after=after):
        yield from map(_row, found)
        after = found[-1].account_id


def _row(one: ListedAccount) -> tuple[Value, ...]:
    balance = exact_money(one.balance_minor, one.currency_code)
    return (
        one.account_id,
        one.name or "",
        one.entity_id,
        one.type.value,
        one.currency_code,
        one.status.value,
        balance,
        one.entry_count,
    )
