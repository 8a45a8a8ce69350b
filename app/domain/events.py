"""Events: what the ledger tells others of, the attributes of CloudEvents 1.0, and cursors into their order.

An event is derived from rows that the ledger holds anyway, so it says the same whenever it is read. Its id is made of
the key of its row and never changes. `version` grows with each event of the same subject, so that a receiver can tell
an older one from a newer.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from app.domain.timestamps import rfc3339

SOURCE = "/holdfast/ledger"
"""The `source` of CloudEvents: with the id, it names an event everywhere."""


class EventType(StrEnum):
    """What an event tells of."""

    PAYMENT_POSTED = "payment.posted"
    PAYMENT_REJECTED = "payment.rejected"
    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_EXPIRED = "payment.expired"
    PAYMENT_REFUNDED = "payment.refunded"
    JOURNAL_POSTED = "journal.posted"
    JOURNAL_REVERSED = "journal.reversed"
    BALANCE_UPDATED = "balance.updated"
    ACCOUNT_OPENED = "account.opened"
    ACCOUNT_CHANGED = "account.changed"
    BREAK_OPENED = "reconciliation.break_opened"
    BREAK_RESOLVED = "reconciliation.break_resolved"
    MONITOR_CROSSED = "monitor.crossed"


class Cursor(NamedTuple):
    """A place in the order of events; reading goes on after it.

    Events are ordered by position, then by `part`, a transaction of the batch at that position, then by `slot`: the
    transaction's own event is 0, those of its entries follow. A cursor that names a position alone is after all of it.
    """

    position: int
    part: int
    slot: int

    def __str__(self) -> str:
        return f"{self.position}" if self.part == WHOLE else f"{self.position}.{self.part}.{self.slot}"


WHOLE = 2**62
"""The part of a cursor that is after everything at its position."""

LAST_SLOT = 10**9 - 1
"""The slot of a cursor that is after everything of its part."""

BEGINNING = Cursor(0, WHOLE, 0)
CURSOR_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,9}\.[0-9]{1,9})?$"
_CURSOR = re.compile(CURSOR_PATTERN.replace("$", r"\Z"), re.ASCII)


def after_all_of(position: int) -> Cursor:
    """The cursor after everything at a position."""
    return Cursor(position, WHOLE, 0)


def parse_cursor(text: str) -> Cursor | None:
    """The cursor that a text stands for; None if it is none."""
    if not _CURSOR.match(text):
        return None
    position, _, rest = text.partition(".")
    part, _, slot = rest.partition(".")
    return Cursor(int(position), int(part), int(slot)) if rest else after_all_of(int(position))


@dataclass(slots=True, frozen=True)
class Event:
    """One event. `entity_id` is None where it belongs to no entity; `account_ids` are the accounts that it is about."""

    cursor: Cursor
    event_id: str
    type: EventType
    subject: str
    at: datetime
    version: int
    data: Mapping[str, Any]
    entity_id: str | None = None
    account_ids: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The event as a CloudEvent."""
        return {
            "specversion": "1.0",
            "id": self.event_id,
            "source": SOURCE,
            "type": self.type.value,
            "subject": self.subject,
            "time": rfc3339(self.at),
            "datacontenttype": "application/json",
            "sequence": str(self.cursor),
            "data": {"version": self.version, **self.data},
        }


@dataclass(slots=True, frozen=True)
class Wanted:
    """Which events a reader wants: all of them, or those that fit every condition that is given.

    `entities` are those that it may see; with them, what belongs to no entity is not for it.
    """

    types: Collection[EventType] | None = None
    account_id: str | None = None
    entities: Collection[str] | None = None

    @property
    def is_all(self) -> bool:
        """Whether it wants every event."""
        return self.types is None and self.account_id is None and self.entities is None

    def takes(self, event: Event) -> bool:
        """Whether it wants this one."""
        if self.types is not None and event.type not in self.types:
            return False
        if self.account_id is not None and self.account_id not in event.account_ids:
            return False
        return self.entities is None or event.entity_id in self.entities


@dataclass(slots=True, frozen=True)
class EventPage:
    """Some events in order, and the cursor to go on from; `is_end`: there was nothing more when it was read."""

    events: list[Event]
    cursor: Cursor
    is_end: bool
