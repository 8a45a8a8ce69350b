"""One account: what can be spent and why, what holds it, and every entry with the balance that it left."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flask import Blueprint, abort, render_template
from werkzeug.wrappers import Response

from app.dashboard import break_words, charts
from app.dashboard.charts import Chart
from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money, money, read_moment, read_money
from app.dashboard.frame import for_print
from app.dashboard.requests import Filters
from app.domain.account_changes import AccountChange
from app.domain.account_lists import EntryFilter
from app.domain.break_workflow import SETTLED, UNSETTLED, BreakFilter, BreakRecord, BreakState
from app.domain.csv_export import Value
from app.domain.errors import Fault
from app.domain.found_breaks import BreakSource
from app.domain.payment import Kind
from app.domain.read_models import Account, AccountEntry
from app.domain.timestamps import rfc3339
from app.services.accounts.hydration import AccountBalance

pages = Blueprint("account", __name__)

LISTED = 50
LISTED_IN_PRINT = 500
PIECE = 1_000
AUTHORIZATIONS = 20
CHANGES = 100
BREAKS = 20
DAYS = timedelta(days=30)
POINTS = 120
"""Four a day."""
SHORTEST = timedelta(minutes=1)
"""Of a chart: so that the account that was opened just now has one."""
KINDS = (Kind.PAYMENT, Kind.CAPTURE, Kind.JOURNAL, Kind.REVERSAL, Kind.REFUND)
HEAD = ("entry", "posted_at", "effective_at", "kind", "payment_id", "external_id", "description", "debit", "credit")


@pages.get("/accounts/<path:account_id>")
def page(account_id: str) -> str | Response:
    """The account with a page of its history; `format=csv` is all of the history."""
    account = here().api.accounts.get(account_id)
    if account is None:
        abort(404)
    filters = Filters()
    code = account.currency_code
    wanted = EntryFilter(
        posted_from=filters.read("from", read_moment),
        posted_before=filters.read("to", lambda text: read_moment(text, is_end=True) + timedelta(milliseconds=1)),
        kind=filters.choice("kind", Kind),
        amount_minor=filters.read("amount", lambda text: abs(read_money(text, code))),
    )
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"entries-{_plain(account_id)}", (*HEAD, f"balance_{code}"), _rows(account, wanted))
    limit = LISTED_IN_PRINT if for_print() else LISTED
    history = here().lists.entries(account_id, wanted, limit=limit, before=filters.number("before"))
    funds = _funds(account_id)
    changes = list(reversed(here().api.changes.page(account_id, limit=CHANGES, after=0)))
    authorizations, count, held_minor = here().lists.open_authorizations(account_id, AUTHORIZATIONS)
    return render_template(
        "account.html",
        account=account,
        funds=funds,
        ledger_minor=None if funds is None else _ledger_minor(account_id, funds.cached.entry_count),
        open_breaks=_breaks(account_id, UNSETTLED),
        words=break_words,
        history=history,
        authorizations=authorizations,
        authorization_count=count,
        authorized_minor=held_minor,
        chart=balance_chart(account, here().now()),
        changes=changes,
        records=_records(changes, _breaks(account_id, SETTLED)),
        kinds=KINDS,
        wanted=wanted,
        filters=filters,
    )


def _funds(account_id: str) -> AccountBalance | None:
    """The funds as the cache has them; None while it does not answer: the history can be read all the same."""
    try:
        return here().api.balances.get(account_id)
    except Fault:
        return None


def _ledger_minor(account_id: str, entry_number: int) -> int | None:
    """The ledger's balance after an entry; None where it has no such entry."""
    if entry_number == 0:
        return 0
    found = here().lists.entries(account_id, EntryFilter(), limit=1, before=entry_number + 1).entries
    return found[0].balance_minor if found and found[0].entry_number == entry_number else None


def _breaks(account_id: str, states: tuple[BreakState, ...]) -> list[BreakRecord]:
    """Breaks of the cache or of the ledger on this account, the latest first where they are settled."""
    wanted = BreakFilter(source=BreakSource.INSIDE, states=states, account_id=account_id)
    return list(here().api.breaks.due_first(wanted, limit=BREAKS)[0])


def _records(changes: Sequence[AccountChange], settled: Sequence[BreakRecord]) -> list[AccountChange | BreakRecord]:
    """Changes of the account, and breaks that were settled, the latest first."""
    told = [(one.recorded_at, one) for one in changes] + [(one.settled_at or one.last_seen_at, one) for one in settled]
    return [one for _, one in sorted(told, key=lambda pair: pair[0], reverse=True)]


def balance_chart(account: Account, now: datetime) -> Chart:
    """The balance over thirty days, or since the account was opened if that is later."""
    began, is_young = now - DAYS, account.created_at > now - DAYS
    if is_young:
        began = min(account.created_at, now - SHORTEST)
    step = (now - began) / POINTS
    moments = [now - step * back for back in range(POINTS, -1, -1)]
    course = here().lists.course(account.account_id, moments)
    values = [float(one) for one in course.values]
    low, high = min(0.0, course.lowest_minor), max(0.0, course.highest_minor)
    high = charts.ceiling(high) if high > 0 else 0.0
    low = -charts.ceiling(-low) if low < 0 else 0.0
    if low == high:
        high = 1.0
    code = account.currency_code
    line = charts.stairs(values, low, high, 1000, 120)
    words = [money(one, code) for one in (course.lowest_minor, course.highest_minor, course.values[-1])]
    among = "" if course.is_exact else f" at {POINTS + 1} moments"
    return Chart(
        "Balance since the account was opened" if is_young else "Balance, thirty days",
        f"{code}; lowest {words[0]}, highest {words[1]}{among}, now {words[2]}",
        "stairs",
        [money(int(high), code), money(int((low + high) / 2), code), money(int(low), code)],
        [_axis(at, now - began) for at in (moments[0], moments[POINTS // 2], moments[-1])],
        charts.points("Balance", moments, (code, [plain(one, code) for one in values])),
        plain(high, code),
        charts.grid(1000, 120),
        plain(low, code),
        line,
        area=f"{line}V120H0Z",
        is_tall=True,
        width=1000,
        height=120,
    )


def _axis(at: datetime, width: timedelta) -> str:
    """A moment below a chart of this width."""
    if width > timedelta(days=3):
        return f"{at.day} {at:%b}"
    if width > timedelta(hours=20):
        return f"{at.day} {at:%b %H:%M}"
    return f"{at:%H:%M} UTC" if width > timedelta(minutes=10) else f"{at:%H:%M:%S} UTC"


def plain(minor: float, currency_code: str) -> float:
    """A value for a script's axis."""
    return float(exact_money(int(minor), currency_code) or 0)


def _plain(account_id: str) -> str:
    """An id as a part of a file's name."""
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in account_id)


def _rows(account: Account, wanted: EntryFilter) -> Iterator[tuple[Value, ...]]:
    """Every entry that fits, the newest first."""
    before: int | None = None
    while True:
        found = here().lists.entries(account.account_id, wanted, limit=PIECE, before=before)
        yield from (_row(one) for one in found.entries)
        if not found.has_older:
            return
        before = found.looked_at[0]


def _row(one: AccountEntry) -> tuple[Value, ...]:
    code = one.currency_code
    debit = exact_money(one.amount_minor, code) if one.amount_minor > 0 else None
    credit = exact_money(-one.amount_minor, code) if one.amount_minor < 0 else None
    return (
        one.entry_number,
        rfc3339(one.posted_at),
        rfc3339(one.effective_at),
        one.kind,
        one.payment_id,
        one.external_id,
        one.description or "",
        debit,
        credit,
        exact_money(one.balance_minor, code),
    )
