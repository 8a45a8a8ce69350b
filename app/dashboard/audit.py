"""The audit: every call, by keys and by people, the newest first; one of them opened with request and answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flask import Blueprint, abort, render_template
from werkzeug.wrappers import Response

from app.api.audit import AuditBody, answer_of, members_of
from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import read_moment
from app.dashboard.frame import entity, for_print
from app.dashboard.requests import Filters
from app.domain.actors import key_actor, user_actor
from app.domain.audit_reads import AuditEntry, AuditFilter, AuditPlace, Outcome, parse_audit_id
from app.domain.csv_export import Value

pages = Blueprint("audit", __name__)

LISTED = 50
LISTED_IN_PRINT = 500
PIECE = 1_000
MOST_KEYS = 1_000
"""Keys whose names are looked through for what is typed as a person or a key."""


@dataclass(slots=True, frozen=True)
class Opened:
    """One record with its bodies as people read them."""

    entry: AuditEntry
    request: str | None
    response: str | None
    is_of_now: bool
    """Whether the answer is what the ledger says now: of a payment no copy is kept."""


@pages.get("/audit")
def page() -> str | Response:
    """Records by filter; `open` is the one to show in full, and `format=csv` exports all."""
    filters = Filters()
    wanted = _wanted(filters)
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"audit-{here().now():%Y-%m-%d}", AuditBody.__struct_fields__, _rows(wanted))
    before = filters.read("before", _place)
    limit = LISTED_IN_PRINT if for_print() else LISTED
    found = [] if filters.errors else here().api.audit.latest(wanted, limit=limit + 1, before=before)
    listed = found[:limit]
    opened = _opened(filters)
    shown = [*listed, *([opened.entry] if opened else [])]
    return render_template(
        "audit.html",
        entries=listed,
        next_before=listed[-1].place.audit_id if len(found) > limit else None,
        opened=opened,
        opened_id=opened.entry.place.audit_id if opened else None,
        is_listed=opened is not None and opened.entry.place in {one.place for one in listed},
        one_day=_one_day(listed),
        paths={one.number: members_of(one)["path"] for one in shown},
        outcomes=list(Outcome),
        answered=filters.choice("answer", Outcome),
        filters=filters,
    )


# What is asked for


def _wanted(filters: Filters) -> AuditFilter:
    wanted = AuditFilter(
        from_time=filters.read("from", read_moment),
        to_time=filters.read("to", _until),
        who=_who(filters.text("who")),
        outcome=filters.choice("answer", Outcome),
        is_change=True if filters.text("changes") else None,
        code=filters.text("code") or None,
        action=filters.text("action") or None,
        method=filters.text("method").upper() or None,
        route=filters.text("route") or None,
    )
    about = filters.text("about")
    return _about(wanted, about) if about else wanted


def _until(text: str) -> datetime:
    """The first moment that does not count."""
    return read_moment(text, is_end=True) + timedelta(milliseconds=1)


def _who(text: str) -> tuple[str, ...] | None:
    """The actors whom a name means: a person, a key by its id or name, the command line, the clock."""
    if not text:
        return None
    keys = here().api.keys.page(limit=MOST_KEYS, after=None, entities=None)
    named = [key_actor(one.key_id) for one in keys if text in (one.name, one.key_id)]
    return (text, user_actor(text), *named)


def _about(wanted: AuditFilter, text: str) -> AuditFilter:
    """Narrow to calls about something, by whichever id this is."""
    if here().api.accounts.get(text) is not None:
        return replace(wanted, account_id=text)
    if here().register.get(text) is not None or here().api.finder.find(text) is not None:
        return replace(wanted, payment_id=text)
    if here().api.audit.latest(AuditFilter(request_id=text), limit=1, before=None):
        return replace(wanted, request_id=text)
    return replace(wanted, external_id=text, entity_id=entity())  # None: the default entity, and refusals, of no entity


def _place(text: str) -> AuditPlace:
    place = parse_audit_id(text)
    if place is None:
        raise ValueError(f"{text!r} is not the id of a record.")
    return place


# What is shown


def _opened(filters: Filters) -> Opened | None:
    place = filters.read("open", _place)
    if place is None:
        return None
    entry = here().api.audit.get(place, None)
    if entry is None:
        abort(404)
    response, _ = answer_of(here().api, entry, may_read=True)
    return Opened(entry, _indented(entry.request), _indented(response), is_of_now=response != entry.response)


def _indented(body: str | None) -> str | None:
    """JSON spread over lines; anything else, and what was cut, as it is."""
    if body is None:
        return None
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


def _one_day(listed: list[AuditEntry]) -> datetime | None:
    """The day of all these records, where it is one."""
    days = {one.called_at.date() for one in listed}
    return listed[0].called_at if len(days) == 1 else None


def _rows(wanted: AuditFilter) -> Iterator[list[Value]]:
    before = None
    while page := here().api.audit.latest(wanted, limit=PIECE, before=before):
        for one in page:
            yield list(members_of(one).values())
        before = page[-1].place
