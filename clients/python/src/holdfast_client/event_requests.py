"""The operations on events and on webhooks, described as those in `requests.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import (
    UNSET,
    Page,
    Unset,
    assigned,
    deleting,
    getting,
    given,
    listing,
    posting,
    query_of,
    reader,
)

EventType: TypeAlias = Literal[
    "payment.posted",
    "payment.rejected",
    "payment.authorized",
    "payment.captured",
    "payment.voided",
    "payment.expired",
    "payment.refunded",
    "journal.posted",
    "journal.reversed",
    "balance.updated",
    "account.opened",
    "account.changed",
    "reconciliation.break_opened",
    "reconciliation.break_resolved",
    "monitor.crossed",
]
"""What an event tells of."""

Types: TypeAlias = EventType | Sequence[EventType]
"""One type of events, or several."""


def _named(types: Types) -> list[str]:
    return [types] if isinstance(types, str) else list(types)


def read_events(
    after: str | None = None,
    *,
    types: Types = (),
    account_id: str | None = None,
    wait_s: int = 0,
    limit: int | None = None,
) -> Request[models.EventPage]:
    """A page of events after a cursor, the first ones without; `wait_s` waits for one where there is none.

    `after="end"` is after all that is there: its `next` is a cursor to begin now with.
    """
    asked = query_of(
        after=after, types=",".join(_named(types)) or None, account_id=account_id, wait=wait_s or None, limit=limit
    )
    return Request("GET", "/v1/events", reader(models.EventPage), asked, slow_s=wait_s)


def stream_of_events(after: str | None, types: Types, account_id: str | None) -> Request[None]:
    """The stream of events after a cursor; from now on without."""
    asked = query_of(types=",".join(_named(types)) or None, account_id=account_id)
    headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
    return Request("GET", "/v1/events/stream", lambda _: None, asked, headers)


def create_webhook(
    url: str,
    *,
    name: str | None = None,
    types: Types | None = None,
    account_id: str | None = None,
    ordered: bool = False,
) -> Request[models.IssuedWebhook]:
    """Make an endpoint that is told of events. Not repeated after a lost answer: its secret is told once."""
    body = given(
        url=url, name=name, types=None if types is None else _named(types), account_id=account_id, ordered=ordered
    )
    return posting("/v1/webhooks", body, models.IssuedWebhook, repeatable=False)


def list_webhooks() -> Request[Page[models.Webhook]]:
    """The endpoints."""
    return listing("/v1/webhooks", models.Webhook)


def get_webhook(endpoint_id: str) -> Request[models.Webhook]:
    """An endpoint."""
    return getting(path("/v1/webhooks/{endpoint_id}", endpoint_id=endpoint_id), models.Webhook)


def change_webhook(
    endpoint_id: str,
    *,
    url: str | Unset = UNSET,
    name: str | Unset = UNSET,
    types: Types | Unset | None = UNSET,
    state: Literal["enabled", "disabled"] | Unset = UNSET,
) -> Request[models.Webhook]:
    """Change an endpoint, disable it, or enable it again; `types` None are all."""
    body = assigned(url=url, name=name, types=_named(types) if isinstance(types, Sequence) else types, state=state)
    return posting(path("/v1/webhooks/{endpoint_id}", endpoint_id=endpoint_id), body, models.Webhook, method="PATCH")


def rotate_webhook_secret(endpoint_id: str, *, overlap_hours: int | None = None) -> Request[models.IssuedWebhook]:
    """Make a new secret; the former one signs too for a while. Not repeated after a lost answer."""
    where = path("/v1/webhooks/{endpoint_id}/rotate", endpoint_id=endpoint_id)
    return posting(where, given(overlap_hours=overlap_hours), models.IssuedWebhook, repeatable=False)


def delete_webhook(endpoint_id: str) -> Request[models.Webhook]:
    """End an endpoint."""
    return deleting(path("/v1/webhooks/{endpoint_id}", endpoint_id=endpoint_id), models.Webhook)


def list_deliveries(endpoint_id: str) -> Request[Page[models.Delivery]]:
    """Every attempt to tell an endpoint, the latest first."""
    return listing(path("/v1/webhooks/{endpoint_id}/deliveries", endpoint_id=endpoint_id), models.Delivery)


def list_dead_letters(endpoint_id: str) -> Request[Page[models.DeadLetter]]:
    """What was given up for an endpoint."""
    return listing(path("/v1/webhooks/{endpoint_id}/dead-letters", endpoint_id=endpoint_id), models.DeadLetter)


def resend_dead_letters(endpoint_id: str, event_ids: Sequence[str] | None = None) -> Request[models.Resent]:
    """Send dead letters again; all of them without `event_ids`."""
    where = path("/v1/webhooks/{endpoint_id}/resend", endpoint_id=endpoint_id)
    return posting(where, given(event_ids=None if event_ids is None else list(event_ids)), models.Resent)


# Balance monitors


def create_monitor(
    account_id: str,
    measure: Literal["available", "balance", "held"],
    comparison: Literal["above", "below"],
    threshold_minor: int,
    *,
    name: str | None = None,
) -> Request[models.Monitor]:
    """Have `monitor.crossed` tell each time that a condition turns. Not repeated: a repeat would make another one."""
    body = given(
        account_id=account_id, measure=measure, comparison=comparison, threshold_minor=threshold_minor, name=name
    )
    return posting("/v1/monitors", body, models.Monitor, repeatable=False)


def list_monitors(*, account_id: str | None = None) -> Request[Page[models.Monitor]]:
    """The monitors that have not ended."""
    return listing("/v1/monitors", models.Monitor, account_id=account_id)


def get_monitor(monitor_id: str) -> Request[models.Monitor]:
    """A monitor, and whether its condition holds."""
    return getting(path("/v1/monitors/{monitor_id}", monitor_id=monitor_id), models.Monitor)


def end_monitor(monitor_id: str) -> Request[models.Monitor]:
    """End a monitor."""
    return deleting(path("/v1/monitors/{monitor_id}", monitor_id=monitor_id), models.Monitor)
