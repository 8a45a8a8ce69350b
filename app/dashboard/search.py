"""Search: any id, external id, account, amount or date, in one field."""

from dataclasses import dataclass, field
from datetime import timedelta

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.formats import read_moment, read_money
from app.dashboard.frame import entity
from app.dashboard.requests import Filters
from app.domain.account_lists import AccountFilter, ListedAccount
from app.domain.payment_search import FoundTransaction, Words, words_of
from app.services.payments.outcomes import RefusedPayment

pages = Blueprint("search", __name__)

LISTED = 50
ACCOUNTS = 20
MOST_ENTITIES = 20
"""Entities whose external ids are looked through; with more, a person chooses one first."""


@dataclass(slots=True)
class Found:
    """What a search found."""

    accounts: list[ListedAccount] = field(default_factory=list)
    transactions: list[FoundTransaction] = field(default_factory=list)
    by_external_id: list[tuple[str, str]] = field(default_factory=list)
    """Entity and payment id."""
    looked_at: str = ""
    """What was looked through for an amount or a date, in words."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.accounts or self.transactions or self.by_external_id)


@pages.get("/search")
def page() -> str | Response:
    """What was found; one exact hit is opened at once."""
    filters = Filters()
    text = filters.text("q")
    if not text:
        return render_template("search.html", text="", found=None, filters=filters)
    target = _exact(text)
    if target is not None:
        return redirect(target, 303)
    found = Found(by_external_id=_by_external_id(text), accounts=_accounts(text))
    _by_time_and_amount(words_of(text), found, filters)
    if len(found.by_external_id) == 1 and not found.accounts and not found.transactions:
        return redirect(url_for("payment.page", payment_id=found.by_external_id[0][1]), 303)
    return render_template("search.html", text=text, found=found, filters=filters)


def _exact(text: str) -> str | None:
    """The page of the payment, journal or account that has this id."""
    if here().register.get(text) is not None or here().api.finder.find(text) is not None:
        return url_for("payment.page", payment_id=text)
    account = here().api.accounts.get(text)
    return None if account is None else url_for("account.page", account_id=text)


def _accounts(text: str) -> list[ListedAccount]:
    wanted = AccountFilter(begins_with=text, entity_id=entity())
    return here().lists.accounts(wanted, limit=ACCOUNTS, after=None)


def _by_external_id(text: str) -> list[tuple[str, str]]:
    chosen = entity()
    entities = here().entities()[:MOST_ENTITIES] if chosen is None else [chosen]
    found = []
    for entity_id in entities:
        transaction = here().register.by_external_id(entity_id, text)
        if transaction is not None:
            found.append((entity_id, transaction.payment_id))
            continue
        other = here().api.finder.find_by_external_id(entity_id, text)
        if other is not None and not isinstance(other, RefusedPayment):
            found.append((entity_id, other.payment_id))
    return found


def _by_time_and_amount(words: Words, found: Found, filters: Filters) -> None:
    """Transactions of a day, of an amount, or both."""
    if words.rest or (words.day is None and words.amount is None):
        return
    amounts = None if words.amount is None else _amounts(words.amount, words.currency_code)
    if amounts == {}:
        return
    try:
        ends = _ends(words.day)
    except ValueError as error:
        filters.errors["q"] = str(error)
        return
    found.transactions = here().payment_search.between(*ends, amounts=amounts, entity_id=entity(), limit=LISTED)
    found.looked_at = f"posted on {words.day}" if words.day else "posted lately"


def _amounts(text: str, currency_code: str | None) -> dict[str, int]:
    """Minor units in each currency in which this is an amount."""
    codes = here().currencies() if currency_code is None else [currency_code]
    amounts = {}
    for code in codes:
        try:
            amounts[code] = abs(read_money(text, code))
        except ValueError:
            continue
    return amounts


def _ends(day: str | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The positions of the chains between which to look."""
    if day is None:
        highs = here().activity.total()
        return tuple(0 for _ in highs), highs
    begins_at = read_moment(day)
    lows, highs = here().activity.positions([begins_at, begins_at + timedelta(days=1)])
    return lows, highs
