"""JSON in and out, and paging."""

from typing import Any, TypeVar

import msgspec
from flask import Response

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


def json_response(body: Any, status: int = 200, *, content_type: str = "application/json") -> Response:
    """A response with a JSON body."""
    return Response(_encode(body), status, content_type=content_type)


def page_response(data: list[Any], limit: int, cursor: str | None) -> Response:
    """A page: `next` is the cursor of the next page, null on the last one."""
    return json_response({"data": data, "next": cursor if len(data) == limit else None})
