"""Webhooks over HTTP: endpoints, the log of deliveries, and dead letters."""

from datetime import timedelta
from typing import Any

from msgspec import UNSET

from app.api.entity_binding import visible_account
from app.api.events import CURSOR_SCHEMA, EVENT_TYPES, cursor_of
from app.api.json_body import malformed
from app.api.parameters import AFTER, AFTER_NUMBER, CACHE_CONTROL, LIMIT, LOCATION
from app.api.request_refusals import nothing_of
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Body, Call, Parameter, Routes
from app.api.webhook_bodies import (
    DeadLetter,
    DeliveryBody,
    IssuedWebhook,
    NewSecret,
    NewWebhook,
    Resend,
    Resent,
    WebhookBody,
    WebhookChange,
    dead_letter,
    delivery_body,
    fields_of,
    webhook_body,
)
from app.domain.account_refusals import account_not_found
from app.domain.events import Cursor, EventType
from app.domain.payment_checks import refuse_id, refuse_unreadable_id
from app.domain.refusals import RefusalCode as Code
from app.domain.webhooks import Endpoint, EndpointState, NewEndpoint
from app.services.access.api_keys import Scope
from app.services.events.endpoints import IssuedEndpoint, UnusableUrl

routes = Routes()

NOT_STORED = ("cache-control", "no-store")

_NOT_FOUND = frozenset({Code.NOT_FOUND})

AFTER_EVENT: Parameter[Cursor | None] = Parameter(
    "after", cursor_of("after"), None, CURSOR_SCHEMA, "The cursor from `next`.", refuses=(Code.INVALID_CURSOR,)
)


@routes.add(
    "POST",
    "/v1/webhooks",
    "Make a webhook endpoint; the answer is the only showing of its secret",
    scope=Scope.WEBHOOKS_WRITE,
    body=Body(NewWebhook),
    answers={201: IssuedWebhook},
    sends=(LOCATION, CACHE_CONTROL),
    refuses=frozenset({Code.INVALID_ID, Code.ACCOUNT_NOT_FOUND}),
)
def create_webhook(call: Call[NewWebhook]) -> Answer:
    """Make an endpoint, which sees what the key sees."""
    body = call.body
    if body.account_id is not None:
        _require_account(call, body.account_id)
    new = NewEndpoint(body.url, body.name, _types(body.types), body.account_id, call.entities, is_ordered=body.ordered)
    try:
        return _issued(call.here.endpoints.create(new, call.actor))
    except UnusableUrl as error:
        raise malformed(f"url {error}.", field="url") from None


def _require_account(call: Call[Any], account_id: str) -> None:
    if refusal := refuse_id("account_id", account_id):
        raise Refused(refusal)
    if call.here.accounts.get(visible_account(call, account_id) or "") is None:
        raise Refused(account_not_found(account_id))


@routes.add(
    "GET",
    "/v1/webhooks",
    "List webhook endpoints",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: WebhookBody},
    parameters=(LIMIT, AFTER),
    paged=True,
)
def list_webhooks(call: Call[None]) -> Answer:
    """One page of endpoints, by id."""
    limit = call[LIMIT]
    found = call.here.endpoints.ledger.page(limit=limit, after=call[AFTER], entities=call.entities)
    return page_answer([webhook_body(one) for one in found], limit, found[-1].endpoint_id if found else None)


@routes.add(
    "GET",
    "/v1/webhooks/{endpoint_id}",
    "Read a webhook endpoint",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: WebhookBody},
    refuses=_NOT_FOUND,
)
def get_webhook(call: Call[None]) -> Answer:
    """One endpoint."""
    return _shown(call, call.here.endpoints.ledger.get(call.path["endpoint_id"], call.entities))


@routes.add(
    "PATCH",
    "/v1/webhooks/{endpoint_id}",
    "Change a webhook endpoint, disable it, or enable it again",
    scope=Scope.WEBHOOKS_WRITE,
    body=Body(WebhookChange),
    answers={200: WebhookBody},
    refuses=_NOT_FOUND,
)
def change_webhook(call: Call[WebhookChange]) -> Answer:
    """Change an endpoint."""
    body = call.body
    fields: dict[str, Any] = {
        name: getattr(body, name) for name in ("url", "name", "types", "state") if getattr(body, name) is not UNSET
    }
    if not fields:
        raise malformed("Give at least one of url, name, types and state.")
    if fields.get("types"):
        fields["types"] = [one.value for one in _types(fields["types"]) or ()]
    if fields.get("state", EndpointState.ENABLED) not in (EndpointState.ENABLED, EndpointState.DISABLED):
        raise malformed("state must be enabled or disabled.", field="state")
    try:
        found = call.here.endpoints.change(call.path["endpoint_id"], fields, call.actor, call.entities)
    except UnusableUrl as error:
        raise malformed(f"url {error}.", field="url") from None
    return _shown(call, found)


@routes.add(
    "DELETE",
    "/v1/webhooks/{endpoint_id}",
    "Delete a webhook endpoint, for good; its log stays in the ledger",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: WebhookBody},
    refuses=_NOT_FOUND,
)
def delete_webhook(call: Call[None]) -> Answer:
    """Delete an endpoint."""
    return _shown(call, call.here.endpoints.delete(call.path["endpoint_id"], call.actor, call.entities))


@routes.add(
    "POST",
    "/v1/webhooks/{endpoint_id}/rotate",
    "Give a webhook endpoint a new secret; messages are signed with the former one too for a while",
    scope=Scope.WEBHOOKS_WRITE,
    body=Body(NewSecret, optional=True),
    answers={201: IssuedWebhook},
    sends=(LOCATION, CACHE_CONTROL),
    refuses=_NOT_FOUND,
)
def rotate_webhook_secret(call: Call[NewSecret]) -> Answer:
    """Rotate the secret."""
    overlap = timedelta(hours=call.body.overlap_hours)
    issued = call.here.endpoints.rotate(call.path["endpoint_id"], overlap, call.actor, call.entities)
    return _missing(call) if issued is None else _issued(issued)


@routes.add(
    "GET",
    "/v1/webhooks/{endpoint_id}/deliveries",
    "The attempts to deliver to a webhook endpoint, the latest first",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: DeliveryBody},
    parameters=(LIMIT, AFTER_NUMBER),
    refuses=_NOT_FOUND,
    paged=True,
)
def list_deliveries(call: Call[None]) -> Answer:
    """One page of the log."""
    endpoint_id, limit = call.path["endpoint_id"], call[LIMIT]
    if call.here.endpoints.ledger.get(endpoint_id, call.entities) is None:
        return _missing(call)
    before = call[AFTER_NUMBER] if call.has(AFTER_NUMBER) else None
    found = call.here.endpoints.ledger.attempts(endpoint_id, limit=limit, before=before)
    return page_answer([delivery_body(one) for one in found], limit, str(found[-1].attempt_id) if found else None)


@routes.add(
    "GET",
    "/v1/webhooks/{endpoint_id}/dead-letters",
    "The events that a webhook endpoint has not taken within three days, in order",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: DeadLetter},
    parameters=(LIMIT, AFTER_EVENT),
    refuses=_NOT_FOUND,
    paged=True,
)
def list_dead_letters(call: Call[None]) -> Answer:
    """One page of dead letters."""
    endpoint_id, limit = call.path["endpoint_id"], call[LIMIT]
    if call.here.endpoints.ledger.get(endpoint_id, call.entities) is None:
        return _missing(call)
    found = call.here.endpoints.ledger.waiting(endpoint_id, limit=limit, after=call[AFTER_EVENT])
    return page_answer([dead_letter(one) for one in found], limit, str(found[-1].cursor) if found else None)


@routes.add(
    "POST",
    "/v1/webhooks/{endpoint_id}/resend",
    "Send dead letters of a webhook endpoint again",
    scope=Scope.WEBHOOKS_WRITE,
    body=Body(Resend, optional=True),
    answers={200: Resent},
    refuses=_NOT_FOUND | {Code.INVALID_ID},
)
def resend_dead_letters(call: Call[Resend]) -> Answer:
    """Have them tried again."""
    for one in call.body.event_ids or ():
        if refusal := refuse_unreadable_id("event_ids", one):
            raise Refused(refusal)
    count = call.here.endpoints.resend(call.path["endpoint_id"], call.body.event_ids, call.actor, call.entities)
    return _missing(call) if count is None else json_answer(Resent(count))


def _types(names: list[str] | None) -> tuple[EventType, ...] | None:
    try:
        return None if names is None else tuple(sorted({EventType(one) for one in names}))
    except ValueError:
        raise malformed(f"types must be some of {', '.join(EVENT_TYPES)}.", field="types") from None


def _missing(call: Call[Any]) -> Answer:
    return problem(nothing_of("webhook endpoint", call.path["endpoint_id"]))


def _shown(call: Call[Any], found: Endpoint | None) -> Answer:
    return _missing(call) if found is None else json_answer(webhook_body(found))


def _issued(issued: IssuedEndpoint) -> Answer:
    endpoint = issued.endpoint
    body = IssuedWebhook(**fields_of(endpoint), secret=issued.secret)
    return json_answer(body, 201, ("location", f"/v1/webhooks/{endpoint.endpoint_id}"), NOT_STORED)
