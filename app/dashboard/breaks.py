"""Breaks: the list with filters, one break with its history, working on it, and its repair, which is shown first."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.dashboard import break_words
from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import exact_money, read_moment
from app.dashboard.frame import actor, entity, for_print, may, needs, part
from app.dashboard.requests import Filters
from app.domain.account_lists import EntryFilter, EntryPage
from app.domain.audit_reads import AuditFilter, Outcome
from app.domain.break_workflow import UNSETTLED, BreakChange, BreakFilter, BreakRecord, BreakState, reasons_of
from app.domain.breaks import BreakKind
from app.domain.csv_export import Value
from app.domain.found_breaks import BreakSource
from app.domain.proof_requests import RepairPreview
from app.domain.refusals import Refusal, RefusalCode
from app.domain.timestamps import rfc3339
from app.domain.users import Role
from app.services.proofs.breaks import BreakHistory

pages = Blueprint("breaks", __name__)

Page = str | Response | tuple[str, int]

LISTED = 100
LISTED_IN_PRINT = 1_000
PIECE = 1_000
CALLS_COUNTED = 100
LEADING = 5
"""Entries that lead to the ledger's figure."""
SHOWN_STATES = {"": UNSETTLED, "all": None, **{one.value: (one,) for one in BreakState}}
HEAD = (
    *("break_id", "source", "kind", "subject", "account_id", "entity_id", "currency_code", "ledger", "other"),
    *("difference", "state", "owner", "reason_code", "first_seen_at", "due_at", "settled_at"),
)


@pages.get("/reconciliation/breaks")
def page() -> Page:
    """The list; `format=csv` is all of it."""
    filters = Filters()
    state = filters.text("state")
    owner = filters.text("owner")
    wanted = BreakFilter(
        source=filters.choice("source", BreakSource),
        states=SHOWN_STATES.get(state, UNSETTLED),
        kind=filters.text("kind") or None,
        account_id=filters.text("account_id") or None,
        entity_id=entity(),
        owner="" if owner == "-" else owner or None,
        overdue_at=here().now() if filters.text("overdue") else None,
    )
    if filters.text("format") == "csv":
        return csv_answer(f"breaks-{here().now():%Y-%m-%d}", HEAD, _rows(wanted))
    found, number = here().api.breaks.due_first(wanted, limit=LISTED_IN_PRINT if for_print() else LISTED)
    return render_template(
        "break_list.html",
        breaks=found,
        number=number,
        filters=filters,
        states=list(BreakState),
        sources=list(BreakSource),
        kinds=sorted({one.kind for one in here().api.breaks.counts()}),
        owners=here().api.breaks.owners(),
        words=break_words,
    )


def _rows(wanted: BreakFilter) -> Iterator[tuple[Value, ...]]:
    after = 0
    while found := here().api.breaks.page(wanted, limit=PIECE, after=after):
        yield from map(_row, found)
        after = found[-1].break_id


def _row(one: BreakRecord) -> tuple[Value, ...]:
    amounts = (one.ledger_minor, one.other_minor, one.difference_minor)
    code = one.currency_code
    return (
        *(one.break_id, one.source.value, one.kind, one.subject, one.account_id or "", one.entity_id or "", code or ""),
        *(exact_money(amount, code) if code else amount for amount in amounts),
        *(one.state.value, one.owner or "", one.reason_code or "", rfc3339(one.first_seen_at)),
        *("" if at is None else rfc3339(at) for at in (one.due_at, one.settled_at)),
    )


@pages.get("/reconciliation/breaks/<int:break_id>")
def one(break_id: int) -> Page:
    """A break with both sides, its evidence and its history."""
    return _shown(break_id, None)


@pages.post("/reconciliation/breaks/<int:break_id>")
@needs(Role.ACCOUNTANT)
def change(break_id: int) -> Page:
    """Record what somebody has found out or decided. To accept a difference takes a controller."""
    found = _found(break_id)
    try:
        wanted = _wanted(found.record)
    except ValueError as error:
        return _shown(break_id, str(error)), 422
    if wanted.fields.get("state") is BreakState.ACCEPTED and not may(Role.CONTROLLER):
        abort(403)
    if not wanted.fields and not wanted.comment:
        return _shown(break_id, "Nothing was changed: write a comment, or choose something else."), 422
    outcome = here().api.breaks.change(break_id, wanted, actor())
    if isinstance(outcome, Refusal):
        return _shown(break_id, outcome.detail), 422
    return redirect(url_for("breaks.one", break_id=break_id, _anchor="history"), 303)


def _wanted(record: BreakRecord) -> BreakChange:
    """What the form changes, of what was shown in it."""
    form = request.form
    fields: dict[str, Any] = {}
    state = BreakState(form.get("state") or record.state)
    if state is not record.state:
        fields["state"] = state
    for name in ("owner", "reason_code"):
        value = form.get(name) or None
        if name in form and value != getattr(record, name):
            fields[name] = value
    due = form.get("due_at", "").strip()
    if due and due != shown_due(record):
        fields["due_at"] = read_moment(due, is_end=True)
    return BreakChange(fields, form.get("comment", "").strip())


def shown_due(record: BreakRecord) -> str:
    """The date by which a break is due, as the form has it."""
    return "" if record.due_at is None else f"{record.due_at:%Y-%m-%d %H:%M}"


@pages.get("/reconciliation/breaks/<int:break_id>/repair")
def repair(break_id: int) -> Page:
    """What a repair would change. Nothing is changed yet."""
    found = _found(break_id)
    preview = here().api.proof_requests.preview(break_id)
    return _previewed(found, preview, None)


@pages.post("/reconciliation/breaks/<int:break_id>/repair")
@needs(Role.CONTROLLER)
def ask_repair(break_id: int) -> Page:
    """Ask for the repair that was shown."""
    found = _found(break_id)
    reason, token = request.form.get("reason", "").strip(), request.form.get("token", "")
    if not reason or not request.form.get("seen"):
        preview = here().api.proof_requests.preview(break_id)
        return _previewed(found, preview, "Say why, and that you have compared both sides. Nothing was changed."), 422
    outcome = here().api.proof_requests.ask_repair(break_id, reason, token, actor())
    if isinstance(outcome, Refusal):
        preview = here().api.proof_requests.preview(break_id)
        status = 412 if outcome.code is RefusalCode.PRECONDITION_FAILED else 409
        return _previewed(found, preview, outcome.detail), status
    return redirect(url_for("breaks.one", break_id=break_id, _anchor="repair"), 303)


@pages.get("/reconciliation/breaks/<int:break_id>/repairs")
def repairs(break_id: int) -> Response:
    """What has come of the repairs, to be put in their place; at the end, the page is loaded again with its break."""
    found = _repairs(break_id)
    text = render_template("repairs.html", one=_found(break_id).record, **found)
    return part(text, is_over=not found["is_repairing"])


def _found(break_id: int) -> BreakHistory:
    found = here().api.breaks.get(break_id)
    if found is None:
        abort(404)
    return found


def _shown(break_id: int, refusal: str | None) -> str:
    repairs = _repairs(break_id)  # before the break: what a repair has settled meanwhile is told as settled
    found = _found(break_id)
    one = found.record
    runs = here().api.proofs
    before = None if one.first_run_id is None else runs.last_without(one.kind, one.subject, one.first_run_id)
    calls = None
    if one.account_id is not None and before is not None:
        since = AuditFilter(
            account_id=one.account_id,
            from_time=before.started_at,
            to_time=one.first_seen_at,
            outcome=Outcome.DONE,
            is_change=True,
        )
        calls = len(here().api.audit.page(since, limit=CALLS_COUNTED, after=None))
    return render_template(
        "break.html",
        one=one,
        history=break_words.told(found.events),
        before=before,
        calls=calls,
        calls_counted=CALLS_COUNTED,
        entry=_entry_of(one),
        leading=_leading(one),
        owners=here().api.breaks.owners(),
        reasons=reasons_of(one.source),
        states=list(BreakState),
        due=shown_due(one),
        refusal=refusal,
        words=break_words,
        form=request.form,
        is_lost=one.kind == BreakKind.CACHE_LOST,
        **repairs,
    )


def _repairs(break_id: int) -> dict[str, object]:
    found = here().api.proof_requests.of_break(break_id)
    runs = here().api.proofs.runs(limit=5)
    running = [one for one in runs if one.finished_at is None and one.mode == "full"]
    return {"repairs": found, "running": running, "is_repairing": any(one.finished_at is None for one in found)}


def _entry_of(one: BreakRecord) -> int | None:
    """The entry at which the cache is compared, or that the break is about."""
    at = one.figures.get("at_entry_number")
    return int(at) if at is not None else None


def _leading(one: BreakRecord) -> EntryPage | None:
    """The last entries up to the one at which the sides are compared: they prove the ledger's figure."""
    at = _entry_of(one)
    if one.account_id is None or at is None:
        return None
    return here().lists.entries(one.account_id, EntryFilter(), limit=LEADING, before=at + 1)


def _previewed(found: BreakHistory, preview: RepairPreview | Refusal, refusal: str | None) -> str:
    if isinstance(preview, Refusal):
        return render_template(
            "repair.html", one=found.record, preview=None, refusal=preview.detail, words=break_words, form=request.form
        )
    return render_template(
        "repair.html", one=found.record, preview=preview, refusal=refusal, words=break_words, form=request.form
    )
