"""One statement account: both sides, suggestions, what has no match, the bridge between them, and the signature."""

from collections.abc import Callable
from datetime import date
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.api.fields import number_of
from app.dashboard.context import here
from app.dashboard.formats import read_day
from app.dashboard.frame import actor, for_print, needs, person
from app.dashboard.refusal_texts import Told, told
from app.dashboard.requests import Filters
from app.domain.break_workflow import BreakChange, BreakState, ReasonCode
from app.domain.journals import JournalRequest
from app.domain.match_reasons import Reason
from app.domain.match_records import MatchRecord, MatchState, NewMatch, StatementAccount
from app.domain.refusals import Refusal, RefusalCode
from app.domain.sign_off import first_broken, last_signed, signed_version
from app.domain.users import Role

pages = Blueprint("matching", __name__)

LISTED = 100
LISTED_IN_PRINT = 2_000

Page = str | Response | tuple[str, int]

NEEDS_A_REASON = Told("Say why; the reason is kept. Nothing was done.", "")


@pages.get("/statements/accounts/<int:statement_account_id>")
def page(statement_account_id: int) -> Page:
    """The account through a day; without one, through the last day that statements tell of."""
    return _page(_account(statement_account_id))


def _account(statement_account_id: int) -> StatementAccount:
    found = here().api.matching.accounts.get(statement_account_id)
    if found is None:
        abort(404)
    return found


def _page(account: StatementAccount, refusal: Told | None = None, journal: JournalRequest | None = None) -> str:
    api, filters = here().api, Filters()
    reads, number = api.match_decisions.reads, account.statement_account_id
    through = filters.read("through", read_day) or _default_through(account)
    listed = LISTED_IN_PRINT if for_print() else LISTED
    chain = api.sign_offs.chain(number)
    asked = filters.number("match")
    is_signed = account.signed_through is not None and through <= account.signed_through
    sealed = signed_version(chain, through) if is_signed else None
    first_on = sealed.first_on if sealed else min(account.first_open_day, through)
    period = api.sign_offs.figures(account, first_on, through)
    matched = reads.matches(
        number, state=MatchState.MATCHED, first_on=first_on, last_on=through, limit=listed, newest_first=True
    )
    return render_template(
        "matching.html",
        account=account,
        code=account.currency_code,
        period=period,
        through=through,
        filters=filters,
        refusal=refusal,
        sent=_sent() if refusal or journal else "",
        journal=journal,
        posted=request.args.get("posted"),
        counts=reads.counts(number),
        run=reads.last_run(account),
        suggested=reads.matches(number, state=MatchState.SUGGESTED, limit=listed),
        matched=_with(asked, matched, account),
        only_bank=reads.unmatched(number, of_lines=True, limit=listed),
        only_ledger=reads.unmatched(number, of_lines=False, limit=listed),
        chain=chain,
        sealed=sealed,
        last_signed=last_signed(chain, account.signed_through),
        broken=first_broken(chain),
    )


def _sent() -> str:
    """Which form of the page was sent, as the template names them: what was typed in it stays."""
    name = (request.endpoint or "").rpartition(".")[2]
    match_id = (request.view_args or {}).get("match_id")
    return name if match_id is None else f"{name}-{match_id}"


def _with(asked: int | None, matched: list[MatchRecord], account: StatementAccount) -> list[MatchRecord]:
    """The matches, and the one that a link asks for, which may be of another period."""
    if asked is None or any(one.match_id == asked for one in matched):
        return matched
    found = here().api.match_decisions.reads.match(asked)
    is_of_account = found is not None and found.statement_account_id == account.statement_account_id
    return [*matched, found] if found is not None and is_of_account and found.state is MatchState.MATCHED else matched


def _default_through(account: StatementAccount) -> date:
    """The last day that statements tell of, or the last signed one if that is later."""
    covered: date | None = here().api.sign_offs.covered_through(account)
    return max(covered or account.starts_on, account.signed_through or account.starts_on)


# Deeds


@pages.post("/statements/accounts/<int:statement_account_id>/run")
@needs(Role.ACCOUNTANT)
def run(statement_account_id: int) -> Response:
    """Run the saved rules."""
    here().api.matching.run(_account(statement_account_id), actor())
    return _back(statement_account_id)


@pages.post("/statements/accounts/<int:statement_account_id>/match")
@needs(Role.ACCOUNTANT)
def match(statement_account_id: int) -> Page:
    """Match what is ticked, show and then post what it differs by, look after it, or accept it."""
    account, reason = _account(statement_account_id), request.form.get("reason", "").strip()
    deed = _DEEDS.get(request.form.get("deed", ""))
    if deed is None:
        abort(400)
    if not reason:
        return _page(account, NEEDS_A_REASON), 422
    outcome = deed(account, reason)
    return _page(account, journal=outcome) if isinstance(outcome, JournalRequest) else _answer(account, outcome)


def _match(account: StatementAccount, reason: str) -> Any:
    wanted = NewMatch(account.statement_account_id, _ticked("line"), _ticked("entry"), reason)
    return here().api.match_decisions.match(wanted, actor())


def _match_with_journal(account: StatementAccount, reason: str) -> Any:
    wanted = NewMatch(account.statement_account_id, _ticked("line"), _ticked("entry"), reason)
    journal_account_id = request.form.get("journal_account_id", "").strip() or "none"
    decisions = here().api.match_decisions
    if "confirmed" not in request.form:
        return decisions.journal_to_post(wanted, actor(), journal_account_id=journal_account_id)
    return decisions.match(wanted, actor(), journal_account_id=journal_account_id)


def _look_after(account: StatementAccount, reason: str) -> Any:
    return _change(account, BreakChange({"owner": person().user_id}, reason))


def _accept(account: StatementAccount, reason: str) -> Any:
    return _change(account, BreakChange({"state": BreakState.ACCEPTED}, reason))


def _change(account: StatementAccount, change: BreakChange) -> Any:
    """Change the breaks of what is ticked; an accepted one has the suggested reason, unless it has another."""
    outcome: Any = Refusal(RefusalCode.BREAK_INCOMPLETE, "Tick lines or entries that have a break.")
    lines, entries = set(_ticked("line")), set(_ticked("entry"))
    reads = here().api.match_decisions.reads
    for one in reads.unmatched(account.statement_account_id, limit=LISTED_IN_PRINT):
        is_ticked = one.line.statement_line_id in lines if one.line else one.entry and one.entry.entry_number in entries
        if not is_ticked or one.break_id is None:
            continue
        fields = dict(change.fields)
        if "state" in fields:
            fields["reason_code"] = _REASON_CODES.get(one.reason, one.reason)
        outcome = here().api.breaks.change(one.break_id, BreakChange(fields, change.comment), actor())
        if isinstance(outcome, Refusal):
            return outcome
    return outcome


_REASON_CODES = {Reason.AMOUNT_DIFFERS.value: ReasonCode.WRONG_AMOUNT.value}
"""Reasons of matching that breaks call by another name."""

_DEEDS: dict[str, Callable[[StatementAccount, str], Any]] = {
    "match": _match,
    "journal": _match_with_journal,
    "own": _look_after,
    "accept": _accept,
}


@pages.post("/statements/accounts/<int:statement_account_id>/matches/<int:match_id>")
@needs(Role.ACCOUNTANT)
def decide(statement_account_id: int, match_id: int) -> Page:
    """Confirm a suggestion, undo a match, keep the ticked part of it, or post what its sides differ by."""
    account, decisions = _account(statement_account_id), here().api.match_decisions
    deed, reason = request.form.get("deed", ""), request.form.get("reason", "").strip()
    if deed == "confirm":
        return _answer(account, decisions.confirm(match_id, reason or "as suggested", actor()))
    if not reason:
        return _page(account, NEEDS_A_REASON), 422
    if deed == "undo":
        return _answer(account, decisions.undo(match_id, reason, actor()))
    if deed == "split":
        return _answer(account, decisions.split(match_id, _ticked("line"), _ticked("entry"), reason, actor()))
    if deed != "journal":
        abort(400)
    journal_account_id = request.form.get("journal_account_id", "").strip()
    return _answer(account, decisions.post_difference(match_id, journal_account_id, reason, actor()))


@pages.post("/statements/accounts/<int:statement_account_id>/sign-off")
@needs(Role.CONTROLLER)
def sign(statement_account_id: int) -> Page:
    """Sign the period off."""
    account = _account(statement_account_id)
    try:
        through = read_day(request.form.get("through", ""))
    except ValueError as error:
        return _page(account, Told(str(error), "")), 422
    remark = request.form.get("remark", "").strip()
    return _answer(account, here().api.sign_offs.sign(statement_account_id, through, remark, actor()), "signed")


@pages.post("/statements/accounts/<int:statement_account_id>/reopen")
@needs(Role.CONTROLLER)
def reopen(statement_account_id: int) -> Page:
    """Open the last signed period again, for a new version."""
    account, reason = _account(statement_account_id), request.form.get("reason", "").strip()
    if not reason:
        return _page(account, NEEDS_A_REASON), 422
    last = last_signed(here().api.sign_offs.chain(statement_account_id), account.signed_through)
    if last is None:
        return _page(account, Told("Nothing is signed off.", "")), 422
    opened = here().api.sign_offs.reopen(statement_account_id, last.sign_off_id, reason, actor())
    return _answer(account, opened, "signed")


def _ticked(name: str) -> list[int]:
    """The ids that were ticked."""
    return [number for one in request.form.getlist(name) if (number := number_of(one)) is not None]


def _answer(account: StatementAccount, outcome: object, anchor: str | None = None) -> Page:
    if isinstance(outcome, Refusal):
        shown = told(outcome, account.currency_code)
        return _page(account, shown if shown.figures else Told(f"{shown.sentence} Nothing was done.", shown.code)), 422
    posted = outcome.journal_id if isinstance(outcome, MatchRecord) else None
    return _back(account.statement_account_id, anchor, posted)


def _back(statement_account_id: int, anchor: str | None = None, posted: str | None = None) -> Response:
    shown = {"through": request.args.get("through") or None, "posted": posted, "_anchor": anchor}
    return redirect(url_for("matching.page", statement_account_id=statement_account_id, **shown), 303)  # type: ignore[arg-type]
