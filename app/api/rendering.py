"""JSON in and out, and paging."""

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from flask import Response
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class _ReadyResponse(Response):
    """A response whose headers are complete and plain ASCII as they are set, and whose content is one piece.

    Werkzeug would look through the headers once more, for a length to add and a Location to quote, and wrap the content
    for closing; granian sends a list at once, but takes anything else for a stream.
    """

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:  # noqa: ARG002 - of the interface
        """The headers as they are."""
        return self.headers

    def get_app_iter(self, environ: "WSGIEnvironment") -> list[bytes]:
        """The content, which needs no closing."""
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]


def json_response(body: Any, status: int = 200, *, content_type: str = "application/json") -> Response:
    """A response with a JSON body."""
    return _ReadyResponse(_encode(body), status, content_type=content_type)


def page_response(data: list[Any], limit: int, cursor: str | None) -> Response:
    """A page: `next` is the cursor of the next page, null on the last one."""
    return json_response({"data": data, "next": cursor if len(data) == limit else None})
