"""The operations on events and on webhooks, described as those in `requests.py`."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import Page, given, listing, posting, query_of, reader


def read_events(
    after: str | None = None,
    *,
    types: Sequence[str] = (),
    account_id: str | None = None,
    wait_s: int = 0,
    limit: int | None = None,
) -> Request[models.EventPage]:
    """A page of events after a cursor, the first ones without; `wait_s` waits for one where there is none."""
    asked = query_of(
        after=after, types=",".join(types) or None, account_id=account_id, wait=wait_s or None, limit=limit
    )
    return Request("GET", "/v1/events", reader(models.EventPage), asked, slow_s=wait_s)


def stream_of_events(after: str | None, types: Sequence[str], account_id: str | None) -> Request[None]:
    """The stream of events after a cursor; from now on without."""
    asked = query_of(types=",".join(types) or None, account_id=account_id)
    headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
    return Request("GET", "/v1/events/stream", lambda _: None, asked, headers)


def create_webhook(
    url: str,
    *,
    name: str | None = None,
    types: Sequence[str] | None = None,
    account_id: str | None = None,
    ordered: bool = False,
) -> Request[models.IssuedWebhook]:
    """Make an endpoint that is told of events. Not repeated after a lost answer: its secret is told once."""
    body = given(
        url=url, name=name, types=None if types is None else list(types), account_id=account_id, ordered=ordered
    )
    return posting("/v1/webhooks", body, models.IssuedWebhook, repeatable=False)


def list_webhooks() -> Request[Page[models.Webhook]]:
    """The endpoints."""
    return listing("/v1/webhooks", models.Webhook)


def delete_webhook(endpoint_id: str) -> Request[models.Webhook]:
    """End an endpoint."""
    where = path("/v1/webhooks/{endpoint_id}", endpoint_id=endpoint_id)
    return Request("DELETE", where, reader(models.Webhook))


def list_dead_letters(endpoint_id: str) -> Request[Page[models.DeadLetter]]:
    """What was given up for an endpoint."""
    return listing(path("/v1/webhooks/{endpoint_id}/dead-letters", endpoint_id=endpoint_id), models.DeadLetter)


def resend_dead_letters(endpoint_id: str, event_ids: Sequence[str] | None = None) -> Request[models.Resent]:
    """Send dead letters again; all of them without `event_ids`."""
    where = path("/v1/webhooks/{endpoint_id}/resend", endpoint_id=endpoint_id)
    return posting(where, given(event_ids=None if event_ids is None else list(event_ids)), models.Resent)
