"""What descriptions of operations are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Generic, TypeVar

from holdfast_client.codec import plain, read
from holdfast_client.exchange import Answer, Request

T = TypeVar("T")

JSON = {"Content-Type": "application/json"}
LARGEST_PAGE = 1_000


class Unset(Enum):
    """Stays as it is, where None would be a value."""

    UNSET = "unset"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next` is the cursor of the next part."""

    data: list[T]
    next: str | None


def given(**members: Any) -> dict[str, Any]:
    """The members of a body that are given."""
    return {name: plain(value) for name, value in members.items() if value is not None}


def assigned(**members: Any) -> dict[str, Any]:
    """The members of a body that are set, if only to nothing."""
    return {name: value for name, value in members.items() if value is not UNSET}


def query_of(**parameters: Any) -> dict[str, str]:
    """The parameters of a query that are given."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(plain(value))
        for name, value in parameters.items()
        if value is not None
    }


def encoded(body: Any) -> bytes:
    """A body."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def getting(where: str, kind: type[T], **query: Any) -> Request[T]:
    """Read one thing."""
    return Request("GET", where, reader(kind), query_of(**query))


def listing(where: str, kind: type[T], /, **query: Any) -> Request[Page[T]]:
    """Read a list, in pages as large as they may be."""

    def page(answer: Answer) -> Page[T]:
        body = json.loads(answer.content)
        return Page([read(kind, one) for one in body["data"]], body["next"])

    return Request("GET", where, page, query_of(**query, limit=LARGEST_PAGE))


def listing_whole(where: str, kind: type[T], /, **query: Any) -> Request[Page[T]]:
    """Read a list that comes in one piece."""
    return replace(listing(where, kind), query=query_of(**query))


def deleting(where: str, kind: type[T]) -> Request[T]:
    """End one thing, and read how it ended."""
    return Request("DELETE", where, reader(kind))


def posting(
    where: str,
    body: dict[str, Any],
    kind: type[T],
    *,
    method: str = "POST",
    wait_s: float | None = None,
    repeatable: bool = True,
) -> Request[T]:
    """Send a body, and read what comes of it."""
    return Request(
        method,
        where,
        reader(kind),
        headers=JSON,
        content=encoded(body),
        wait_s=wait_s,
        repeatable=repeatable,
        external_id=body.get("external_id"),
    )


def reader(kind: type[T]) -> Any:
    """Reads an answer as a body of this kind."""
    return lambda answer: read(kind, json.loads(answer.content))


def as_object(answer: Answer) -> dict[str, Any]:
    """A JSON object as it was sent."""
    found: dict[str, Any] = json.loads(answer.content)
    return found


def as_text(answer: Answer) -> str:
    """Text as it was sent."""
    return answer.content.decode()


def as_anything(answer: Answer) -> Any:
    """Any JSON, or none."""
    return json.loads(answer.content) if answer.content else None
