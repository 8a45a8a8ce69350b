"""Reading the audit: what can be asked for, and where a page goes on."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.timestamps import from_milliseconds, to_milliseconds


class Outcome(StrEnum):
    """How a call was answered: done is everything below 400, and what was done by no call."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


AUDIT_ID_PATTERN = "aud_([0-9]{1,13})_([0-9]{1,18})"
"""Milliseconds since 1970, until the year 2286, and a number."""


@dataclass(slots=True, frozen=True)
class AuditPlace:
    """The place of a record in the order of the audit: by time of the call, then by number."""

    called_at: datetime
    number: int

    @property
    def audit_id(self) -> str:
        """The public id, e.g. `aud_1763656270123_42`; it is the cursor of a page, too."""
        return f"aud_{to_milliseconds(self.called_at)}_{self.number}"


def parse_audit_id(text: str) -> AuditPlace | None:
    """The place that an id names; None if the text is none."""
    match = re.fullmatch(AUDIT_ID_PATTERN, text)
    return None if match is None else AuditPlace(from_milliseconds(int(match[1])), int(match[2]))


@dataclass(slots=True, frozen=True)
class AuditFilter:
    """Which records are asked for; None asks for all. `from_time` counts, `to_time` is the first that does not."""

    from_time: datetime | None = None
    to_time: datetime | None = None
    key_id: str | None = None
    actor: str | None = None
    who: Sequence[str] | None = None
    """One of these actors; a key is `key:` and its id."""
    ip: str | None = None
    """An address, or a network such as `10.0.0.0/8`."""
    method: str | None = None
    route: str | None = None
    status: int | None = None
    outcome: Outcome | None = None
    is_change: bool | None = None
    """True leaves out what only reads."""
    code: str | None = None
    action: str | None = None
    request_id: str | None = None
    account_id: str | None = None
    payment_id: str | None = None
    external_id: str | None = None
    entity_id: str | None = None
    entities: Collection[str] | None = None
    """The only entities that the one who asks may see, with what its own keys have asked."""

    def asked(self) -> dict[str, Any]:
        """The fields that are asked for, and their values."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in given if value is not None}


@dataclass(slots=True, frozen=True)
class AuditEntry:
    """One record as it is read. What a record of a payment leaves to the ledger is there too, where a page shows it."""

    number: int
    recorded_at: datetime
    called_at: datetime
    request_id: str | None
    action: str | None
    actor: str | None
    key_id: str | None
    entity_id: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: str | None
    duration_us: int | None
    account_id: str | None
    payment_id: str | None
    external_id: str | None
    request: str | None
    request_bytes: int | None
    response: str | None
    response_bytes: int | None
    calls: int

    @property
    def place(self) -> AuditPlace:
        """Where it stands."""
        return AuditPlace(self.called_at, self.number)
