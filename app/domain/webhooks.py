"""Webhooks: endpoints, what waits to be delivered to them, and when it is tried again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.events import Cursor, EventType, Wanted

RETRIED_FOR = timedelta(days=3)
"""How long an event is tried again, from its first failure on; after that it is dead."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 3_600.0
"""Between two attempts: each pause is twice the one before, give or take a half."""

LEFT_UNREAD_S = 120.0
"""Nobody tells an endpoint if events stay unread for this long: eight times what an answer may take."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - how every secret begins, and none itself

MOST_ANSWER_BYTES = 500
"""How much of an answer the log keeps."""


class EndpointState(StrEnum):
    """Whether an endpoint is told of events."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    GONE = "gone"
    """It answered 410; somebody may enable it again."""
    DELETED = "deleted"


@dataclass(slots=True, frozen=True)
class NewEndpoint:
    """An endpoint to make; without `types`, `account_id` or `entities` there is no such condition.

    With `is_ordered` an event is delivered only after all earlier ones of each of its accounts.
    """

    url: str
    name: str = ""
    types: Sequence[EventType] | None = None
    account_id: str | None = None
    entities: Collection[str] | None = None
    is_ordered: bool = False


@dataclass(slots=True, frozen=True)
class Endpoint:
    """An endpoint: who is told of which events, and up to which one it has been."""

    endpoint_id: str
    name: str
    url: str
    types: Sequence[EventType] | None
    account_id: str | None
    entities: Sequence[str] | None
    is_ordered: bool
    state: EndpointState
    cursor: Cursor
    created_by: str
    created_at: datetime

    @property
    def wanted(self) -> Wanted:
        """Its events."""
        types = None if self.types is None else frozenset(self.types)
        return Wanted(types, self.account_id, None if self.entities is None else frozenset(self.entities))


@dataclass(slots=True)
class Waiting:
    """An event that an endpoint has not taken yet.

    `attempts` is 0 for one that waits for an earlier one only, and for one whose first attempt takes long.
    """

    endpoint_id: str
    cursor: Cursor
    event_id: str
    event_type: str
    account_ids: tuple[str, ...]
    attempts: int
    first_at: datetime
    next_at: datetime
    dead_at: datetime | None = None
    last_failure: str = ""


@dataclass(slots=True, frozen=True)
class Sent:
    """What an endpoint answered; `status` is None where it did not, and `answer` then says why."""

    status: int | None
    answer: str
    retry_after_s: float = 0.0


@dataclass(slots=True, frozen=True)
class Attempt:
    """One attempt to deliver: `status` is None where there was no answer, and `answer` then says why."""

    endpoint_id: str
    event_id: str
    event_type: str
    cursor: Cursor
    number: int
    url: str
    started_at: datetime
    duration_ms: int
    status: int | None
    answer: str
    retry_after_s: float = 0.0

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint has taken it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants to hear no more."""
        return self.status == 410

    @property
    def failure(self) -> str:
        """What went wrong, in a few words."""
        return f"{self.status} {self.answer[:200]}".strip() if self.status is not None else self.answer[:200]


@dataclass(slots=True, frozen=True)
class Lag:
    """What an endpoint has not taken yet: the age of the oldest, in seconds, and how much of it nobody has read for it.

    `unread` counts transactions and changes that belong to none, wanted or not; of more than some thousands it is an
    estimate. `waits` says whether something was tried, and is tried again.
    """

    seconds: float
    unread: int
    waits: bool

    @property
    def is_left_unread(self) -> bool:
        """Whether nobody reads events for it; one that does not take them is its owner's to mend."""
        return self.seconds > LEFT_UNREAD_S and not self.waits


@dataclass(slots=True, frozen=True)
class LoggedAttempt:
    """An attempt as the log has it."""

    attempt_id: int
    attempt: Attempt
    is_delivered: bool


def pause_s(attempts: int, jitter: float, retry_after_s: float = 0.0) -> float:
    """How long to wait after so many failed attempts; `jitter` is from 0 to 1. Never sooner than the endpoint says."""
    exponential = min(FIRST_PAUSE_S * (1 << min(attempts - 1, 30)), LONGEST_PAUSE_S)
    return max(exponential * (0.5 + jitter), min(retry_after_s, LONGEST_PAUSE_S))


def after_failure(one: Waiting, attempt: Attempt, now: datetime, jitter: float) -> Waiting:
    """What becomes of an event after a failed attempt: it is tried again later, or dead."""
    attempts = one.attempts + 1
    first_at = now if one.attempts == 0 else one.first_at
    is_over = now - first_at >= RETRIED_FOR
    return Waiting(
        one.endpoint_id,
        one.cursor,
        one.event_id,
        one.event_type,
        one.account_ids,
        attempts,
        first_at,
        now + timedelta(seconds=pause_s(attempts, jitter, attempt.retry_after_s)),
        now if is_over else None,
        attempt.failure,
    )


Secrets = Mapping[str, Sequence[str]]
"""The secrets of each endpoint that messages are signed with, the newest first."""
