"""The bodies of webhooks: what makes and changes an endpoint, and how it, its log and its dead letters are shown."""

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.events import EVENT_TYPES
from app.api.fields import Count, Id, Moment, Name, Rules, at_least_one, one_of
from app.api.json_body import RequestObject
from app.domain.timestamps import rfc3339
from app.domain.webhook_urls import LONGEST_URL
from app.domain.webhooks import Endpoint, EndpointState, LoggedAttempt, Waiting
from app.services.events.endpoints import DEFAULT_OVERLAP_H, LONGEST_OVERLAP_H

MOST_RESENT = 1_000

EventTypeName = Annotated[str, one_of(EVENT_TYPES)]
Types = Annotated[list[EventTypeName], Meta(min_length=1)]
Url = Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]
SettableState = Annotated[str, one_of((EndpointState.ENABLED.value, EndpointState.DISABLED.value))]


class NewWebhook(RequestObject):
    """An endpoint to tell of events from now on; without `types` or `account_id` of all that the key may see.

    `ordered`: an event is sent only after all earlier ones of each of its accounts were taken, or given up.
    """

    url: Url
    name: Name = ""
    types: Types | None = None
    account_id: Id | None = None
    ordered: bool = False


class WebhookChange(RequestObject):
    """What is to change. An endpoint that is disabled is told afterwards of what has happened meanwhile."""

    url: Url | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    types: Types | UnsetType | None = UNSET
    state: SettableState | UnsetType = UNSET

    rules: ClassVar[Rules] = at_least_one(("url", "name", "types", "state"))


class NewSecret(RequestObject):
    """How long messages are signed with the former secret too."""

    overlap_hours: Annotated[int, Meta(ge=0, le=LONGEST_OVERLAP_H)] = DEFAULT_OVERLAP_H


class Resend(RequestObject):
    """Which dead letters to send again; without `event_ids`, all of them."""

    event_ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST_RESENT)] | None = None


class Resent(Struct):
    """How many dead letters are sent again."""

    events: Count


class WebhookBody(Struct):
    """An endpoint. `state` is enabled, disabled, or gone: it has answered 410. `sequence`: up to where it was told."""

    endpoint_id: str
    name: str
    url: str
    types: list[EventTypeName] | None
    account_id: str | None
    entities: list[str] | None
    ordered: bool
    state: Annotated[str, one_of([one.value for one in EndpointState])]
    sequence: str
    created_by: str
    created_at: Moment


class IssuedWebhook(WebhookBody):
    """An endpoint with its secret, which is shown once. Messages are signed as Standard Webhooks says."""

    secret: str


class DeliveryBody(Struct):
    """One attempt to deliver an event. `status` is null where there was no answer, and `answer` then says why."""

    delivery_id: str
    event_id: str
    event_type: EventTypeName
    sequence: str
    number: int
    url: str
    started_at: Moment
    duration_ms: int
    status: int | None
    answer: str
    delivered: bool


class DeadLetter(Struct):
    """An event that was tried for three days and is given up. `sequence` is its cursor in the feed."""

    event_id: str
    event_type: EventTypeName
    sequence: str
    attempts: int
    first_failed_at: Moment
    given_up_at: Moment
    last_failure: str


def webhook_body(one: Endpoint) -> WebhookBody:
    """An endpoint as it is shown."""
    return WebhookBody(**fields_of(one))


def fields_of(one: Endpoint) -> dict[str, Any]:
    """The members of an endpoint."""
    return {
        "endpoint_id": one.endpoint_id,
        "name": one.name,
        "url": one.url,
        "types": None if one.types is None else [kind.value for kind in one.types],
        "account_id": one.account_id,
        "entities": None if one.entities is None else list(one.entities),
        "ordered": one.is_ordered,
        "state": one.state.value,
        "sequence": str(one.cursor),
        "created_by": one.created_by,
        "created_at": rfc3339(one.created_at),
    }


def delivery_body(one: LoggedAttempt) -> DeliveryBody:
    """An attempt as it is shown."""
    attempt = one.attempt
    return DeliveryBody(
        delivery_id=str(one.attempt_id),
        event_id=attempt.event_id,
        event_type=attempt.event_type,
        sequence=str(attempt.cursor),
        number=attempt.number,
        url=attempt.url,
        started_at=rfc3339(attempt.started_at),
        duration_ms=attempt.duration_ms,
        status=attempt.status,
        answer=attempt.answer,
        delivered=one.is_delivered,
    )


def dead_letter(one: Waiting) -> DeadLetter:
    """A dead event as it is shown."""
    return DeadLetter(
        event_id=one.event_id,
        event_type=one.event_type,
        sequence=str(one.cursor),
        attempts=one.attempts,
        first_failed_at=rfc3339(one.first_at),
        given_up_at=rfc3339(one.dead_at or one.first_at),
        last_failure=one.last_failure,
    )
