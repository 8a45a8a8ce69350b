"""Events and webhooks: what the ledger has told, to whom it was delivered, what could not be, and the monitors."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.frame import actor, entity, for_print, needs
from app.dashboard.requests import Filters
from app.domain.events import Cursor, Event, EventType, Wanted, parse_cursor
from app.domain.users import Role
from app.domain.webhooks import Endpoint, EndpointState, Lag

pages = Blueprint("events", __name__)

LISTED = 50
LISTED_IN_PRINT = 500
MOST_ENDPOINTS = 500
LOOKS_BACK = 5
"""How often the page looks back for events that a filter wants: through 100,000 transactions, in a second at most."""


def _limit() -> int:
    return LISTED_IN_PRINT if for_print() else LISTED


def _cursor(text: str) -> Cursor:
    found = parse_cursor(text)
    if found is None:
        raise ValueError(f"{text!r} is no place in the feed, such as 120 or 120.4.0.")
    return found


@pages.get("/events")
def page() -> str:
    """The latest events, those before a place in the feed, or those after one."""
    filters = Filters()
    wanted_type = filters.choice("type", EventType)
    after, before = filters.read("after", _cursor), filters.read("before", _cursor)
    here_only = None if entity() is None else frozenset({entity() or ""})
    wanted = Wanted(
        None if wanted_type is None else frozenset({wanted_type}), filters.text("account_id") or None, here_only
    )
    events: list[Event] = []
    next_after = earlier = None
    if after is not None and not filters.errors:
        events, next_after = _after(wanted, after, _limit())
    elif not filters.errors:
        events, earlier = _before(wanted, before or here().api.feed.end(), _limit())
    return render_template(
        "events.html",
        events=events,
        next_after=next_after,
        earlier=earlier,
        before=before,
        after=after,
        types=list(EventType),
        wanted_type=wanted_type,
        filters=filters,
    )


def _after(wanted: Wanted, after: Cursor, limit: int) -> tuple[list[Event], Cursor | None]:
    """Events after a place in their order, and where to go on."""
    found = here().api.feed.page(after, limit, wanted)
    return found.events, None if found.is_end else found.cursor


def _before(wanted: Wanted, end: Cursor, limit: int) -> tuple[list[Event], Cursor | None]:
    """The last events before a place in their order, the latest first, and the place to look on before."""
    events: list[Event] = []
    is_end, looks = False, 0
    while not is_end and len(events) <= limit and looks < LOOKS_BACK:
        found = here().api.feed.ledger.before(end, limit + 1 - len(events), wanted)
        events += found.events
        end, is_end = found.cursor, found.is_end
        looks += 1
    if len(events) > limit:
        return events[:limit], events[limit - 1].cursor
    return events, None if is_end else end


@dataclass(slots=True, frozen=True)
class ListedEndpoint:
    """An endpoint with how many events wait for it, how many are dead, and what nobody has read for it yet."""

    endpoint: Endpoint
    waiting: int
    dead: int
    lag: Lag | None

    @property
    def unread(self) -> int:
        """Transactions and changes that are still to be looked at for it."""
        return 0 if self.lag is None else self.lag.unread

    @property
    def is_left_unread(self) -> bool:
        """Whether nobody reads events for it."""
        return self.lag is not None and self.lag.is_left_unread

    @property
    def mark(self) -> str:
        """How serious its state is."""
        if self.endpoint.state is not EndpointState.ENABLED:
            return "none"
        return "wrong" if self.dead or self.is_left_unread else "attention" if self.waiting else "ok"


def _listed(endpoints: Sequence[Endpoint]) -> list[ListedEndpoint]:
    counts, lags = here().webhooks.counts(), here().webhooks.lags()
    return [ListedEndpoint(one, *counts.get(one.endpoint_id, (0, 0)), lags.get(one.endpoint_id)) for one in endpoints]


@pages.get("/webhooks")
def webhooks() -> str:
    """The endpoints, and how each is doing."""
    return render_template("webhooks.html", listed=_listed(here().webhooks.page(limit=MOST_ENDPOINTS, after=None)))


@pages.get("/webhooks/<endpoint_id>")
def webhook(endpoint_id: str) -> str:
    """One endpoint: its dead letters, what waits, and every attempt."""
    ledger = here().webhooks
    endpoint = ledger.get(endpoint_id)
    if endpoint is None:
        abort(404)
    filters = Filters()
    limit = _limit()
    attempts = ledger.attempts(endpoint_id, limit=limit + 1, before=filters.number("before"))
    return render_template(
        "webhook.html",
        endpoint=endpoint,
        listed=_listed([endpoint])[0],
        dead=ledger.waiting(endpoint_id, limit=limit),
        waiting=ledger.waiting(endpoint_id, limit=limit, dead=False),
        attempts=attempts[:limit],
        before=attempts[limit - 1].attempt_id if len(attempts) > limit else None,
        filters=filters,
        said=request.args.get("said"),
    )


@pages.post("/webhooks/<endpoint_id>/resend")
@needs(Role.CONTROLLER)
def resend(endpoint_id: str) -> Response:
    """Send dead letters again: one, or all."""
    event_id = request.form.get("event_id")
    count = here().api.endpoints.resend(endpoint_id, [event_id] if event_id else None, actor(), None)
    if count is None:
        abort(404)
    return redirect(url_for("events.webhook", endpoint_id=endpoint_id, said=f"resent-{count}"), 303)


@pages.post("/webhooks/<endpoint_id>/state")
@needs(Role.CONTROLLER)
def change_state(endpoint_id: str) -> Response:
    """Disable an endpoint, or enable it again."""
    wanted = request.form.get("state")
    if wanted not in (EndpointState.ENABLED, EndpointState.DISABLED):
        abort(400)
    if here().api.endpoints.change(endpoint_id, {"state": wanted}, actor(), None) is None:
        abort(404)
    return redirect(url_for("events.webhook", endpoint_id=endpoint_id, said=wanted), 303)


@pages.get("/monitors")
def monitors() -> str:
    """The balance monitors."""
    filters = Filters()
    limit = _limit()
    only = None if entity() is None else [entity() or ""]
    found = here().monitors.page(limit=limit + 1, after=filters.text("after") or None, entities=only)
    listed = found[:limit]
    currencies = {one.condition.account_id: _currency(one.condition.account_id) for one in listed}
    return render_template(
        "monitors.html",
        monitors=listed,
        currencies=currencies,
        next_after=listed[-1].monitor_id if len(found) > limit else None,
    )


def _currency(account_id: str) -> str:
    account = here().api.accounts.get(account_id)
    return "" if account is None else account.currency_code
