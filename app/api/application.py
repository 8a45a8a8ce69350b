"""The Flask application: it translates requests and answers, and the gate does the rest.

Any WSGI server can run it. On granian's event loop the same routes are served without it, by `app/api/server.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected

from app.api import (
    account_changes,
    accounts,
    api_keys,
    assets,
    audit,
    authorizations,
    batches,
    breaks,
    events,
    evidence,
    financial_statements,
    journal_proposals,
    journals,
    matches,
    monitors,
    openapi,
    ops,
    payments,
    reconciliation,
    repairs,
    reports,
    sign_offs,
    statement_accounts,
    statement_imports,
    statements,
    webhooks,
)
from app.api.context import ApiServices
from app.api.gate import Admitted, Gate
from app.api.request_refusals import body_cut_off, body_too_large
from app.api.responses import Answer, Refused
from app.api.routes import Route

RESOURCES = (
    accounts,
    account_changes,
    assets,
    payments,
    authorizations,
    batches,
    journals,
    journal_proposals,
    reports,
    reconciliation,
    breaks,
    repairs,
    financial_statements,
    audit,
    statements,
    statement_imports,
    statement_accounts,
    matches,
    sign_offs,
    events,
    webhooks,
    monitors,
    evidence,
    api_keys,
    ops,
    openapi,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def all_routes() -> list[Route]:
    """Every route of the API."""
    return [route for module in RESOURCES for route in module.routes.all]


def create_application(services: ApiServices, routes: Iterable[Route] | None = None) -> Flask:
    """The application over these services."""
    application = Flask("holdfast", static_folder=None)
    application.url_map.merge_slashes = False
    gate = Gate(services, all_routes() if routes is None else routes)
    options: dict[str, Any] = {"methods": METHODS, "provide_automatic_options": False}
    application.add_url_rule("/", "root", lambda: _translated(gate), **options)
    application.add_url_rule("/<path:_>", "gate", lambda _: _translated(gate), **options)
    services.start()
    return application


class FlaskRequest:
    """The current request of Flask as the gate takes it."""

    def __init__(self) -> None:
        self.method = request.method
        self.path = request.path
        self.query = request.environ.get("QUERY_STRING", "")
        self.peer = request.remote_addr

    def header(self, name: str) -> str | None:
        """A header's value; None where there is none."""
        return request.headers.get(name)


def _translated(gate: Gate) -> Response:
    received = FlaskRequest()
    origin = gate.receive(received)
    try:
        admitted = gate.admit(received, origin)
        if admitted.takes_lines:
            request.max_content_length = None
            return _response(gate.answer(admitted, b"", request.stream))
        raw = _whole_body(admitted)
    except Exception as error:
        return _response(gate.refuse(error, origin))
    return _response(gate.answer(admitted, raw))


def _whole_body(admitted: Admitted) -> bytes:
    """All of the body and no more than it may have; one byte past the limit is read, so nothing is cut silently."""
    request.max_content_length = None
    limit = max(admitted.largest_body, 1)
    if (request.content_length or 0) > limit:
        raise Refused(body_too_large(limit))
    try:
        raw = b"".join(_pieces(limit + 1))
    except ClientDisconnected:
        raise Refused(body_cut_off()) from None
    if len(raw) > limit:
        raise Refused(body_too_large(limit))
    length = request.content_length
    if len(raw) < length if length is not None else not raw and "HTTP_TRANSFER_ENCODING" in request.environ:
        raise Refused(body_cut_off())
    return raw


def _pieces(most: int) -> Iterator[bytes]:
    """The body as it arrives, up to so many bytes."""
    while most > 0 and (piece := request.stream.read(min(most, 64 * 1024))):
        most -= len(piece)
        yield piece


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, answer.headers)
    close = getattr(answer.body, "close", None)
    if close is not None:
        response.call_on_close(close)
    return response
