"""The gate: every request passes it, whatever server brought it.

It finds the route, checks the key, and reads what the route declares: query parameters, headers, body. Whatever else a
request brings is refused by name, because a parameter that is ignored is a wish that is silently not granted. The view
gets values and returns an `Answer`; what goes wrong in it becomes a problem here.
"""

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from app.api.client_address import FORWARDED_FOR
from app.api.context import ApiServices
from app.api.entity_binding import require_visible
from app.api.json_body import JsonBody, malformed
from app.api.metrics import note_answered
from app.api.rate_limit_headers import take_request
from app.api.request_ids import HEADER, request_id_from
from app.api.request_refusals import (
    forbidden,
    method_not_allowed,
    nothing_here,
    unauthenticated,
    unsupported_content_encoding,
)
from app.api.responses import Answer, Refused, for_non_reader, problem, problem_of, unexpected
from app.api.routes import Call, Route, Source
from app.domain.access_refusals import whole_installation_only
from app.domain.errors import Fault
from app.domain.origin import LARGEST_BODY, Origin, set_origin
from app.domain.spans import begin_call
from app.services.access.api_keys import Caller

log = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"

PRECONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
"""Headers that make a change conditional: where a route does not honour one, the request is refused and not carried out
unconditionally. A read may go without."""


_ANSWERED_ID = HEADER.lower()


class Request(Protocol):
    """What a server hands in: the request line and headers; the path is decoded."""

    method: str
    path: str
    query: str
    peer: str | None
    """Who holds the connection; perhaps a proxy."""

    def header(self, name: str) -> str | None:
        """A header's value; None where there is none."""


@dataclass(slots=True)
class Admitted:
    """A request whose route, caller, parameters and headers are in order; its body is still to come."""

    route: Route
    path: Mapping[str, str]
    caller: Caller | None
    values: dict[Any, Any]
    origin: Origin
    takes_lines: bool
    """Whether the body is a stream of lines, which the view reads by itself."""
    key: str = field(default="", repr=False)
    headers: list[tuple[str, str]] = field(default_factory=list)
    """What its answer tells besides: what is left of the key's rate limit."""

    @property
    def largest_body(self) -> int:
        """How many bytes the body may have."""
        return self.route.body.largest if self.route.body else 0


class Gate:
    """Admits requests and answers them."""

    def __init__(self, here: ApiServices, routes: Iterable[Route]) -> None:
        self.here = here
        self._addresses = here.addresses
        self.routes = list(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        self._bodies = {
            route: JsonBody(route.body.read_as or route.body.kind, in_parts=route.body.read_as is not None)
            for route in self.routes
            if route.body
        }
        for path in dict.fromkeys(route.path for route in self.routes):
            by_method = {route.method: route for route in self.routes if route.path == path}
            by_method["OPTIONS"] = _options_of(path, by_method)
            if "{" in path:
                self._patterns.append((_pattern(path), by_method))
            else:
                self._fixed[path] = by_method
        # The longer path is the more special one: `/v1/accounts/{id}/balance` before `/v1/accounts/{id}`.
        self._patterns.sort(key=lambda one: len(one[0].pattern), reverse=True)

    # Admission

    def receive(self, request: Request) -> Origin:
        """Note where and when a request has come from, and name it; the log names it from now on."""
        forwarded_for = request.header(FORWARDED_FOR) if self._addresses.trusts_proxies else None
        origin = Origin(
            request_id_from(request.header(HEADER)),
            received_at_ms=time.time_ns() // 1_000_000,
            began_ns=time.monotonic_ns(),
            ip=self._addresses.address_of(request.peer, forwarded_for),
            method=request.method,
            path=f"{request.path}?{request.query}" if request.query else request.path,
        )
        begin_call(origin, request.header("traceparent"))
        set_origin(origin)
        return origin

    def admit(self, request: Request, origin: Origin) -> Admitted:
        """Check all of a request but its body; raises Refused, or a Fault where the key cannot be checked."""
        set_origin(origin)
        route, path = self.route_of(request.method, request.path)
        origin.route, origin.status = route.path, route.changed_status
        origin.account_id, origin.payment_id = path.get("account_id"), path.get("payment_id")
        _refuse_nul(request)
        key = _key(request) if route.scope is not None else ""
        caller = self._caller(route, key, origin)
        headers = [] if caller is None or caller.limit is None else take_request(self.here.cache.rate_limits, caller)
        takes_lines = route.lines is not None and _media_type(request) == NDJSON
        try:
            values = _parameters(route, request.query) | _headers(route, request)
        except Refused as refused:
            refused.headers += headers
            raise
        return Admitted(route, path, caller, values, origin, takes_lines, key, headers)

    def route_of(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request and the variables in its path; raises Refused: not found, or another method."""
        by_method, variables = self._find(path)
        route = by_method.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = _allowed(by_method)
            raise Refused(method_not_allowed(method, allowed))
        return route, variables

    def _find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        for pattern, by_method in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return by_method, match.groupdict()
        raise Refused(nothing_here(path))

    def admits_at_once(self, request: Request) -> bool:
        """Whether `admit` need not wait for the ledger to check the key, nor for the cache to count its requests."""
        key = _key(request)
        return not key or self.here.gatekeeper.admits_at_once(key)

    def _caller(self, route: Route, key: str, origin: Origin) -> Caller | None:
        if route.scope is None:
            return None
        caller = self.here.gatekeeper.caller(key) if key else None
        if caller is None:
            raise Refused(unauthenticated())
        origin.key_id = caller.key_id
        if not caller.may(route.scope):
            raise Refused(forbidden(route.scope.value))
        if route.of_installation and caller.entities is not None:
            raise Refused(whole_installation_only())
        return caller

    # Answering

    def answer(self, admitted: Admitted, raw: bytes, stream: Source | None = None) -> Answer:
        """Decode the body and have the view answer. Whatever goes wrong is answered as a problem."""
        origin = admitted.origin
        origin.request, origin.request_bytes = raw[: LARGEST_BODY + 1_024], len(raw)
        set_origin(origin)
        try:
            answer = self._answer(admitted, raw, stream)
        except Exception as error:
            answer = self.refuse(error, origin)
        else:
            answer = self._recorded(answer, origin, is_kept=admitted.route.keeps_answer)
        answer.headers += admitted.headers
        return answer

    def refuse(self, error: Exception, origin: Origin) -> Answer:
        """The problem that tells a client of what was raised on its request's way."""
        set_origin(origin)
        return self._recorded(_refused(error), origin)

    def _recorded(self, answer: Answer, origin: Origin, *, is_kept: bool = True) -> Answer:
        """An answer that names the request, and whose record is on its way; `is_kept`: with the answer's body."""
        answer.headers.append((_ANSWERED_ID, origin.request_id))
        code = None if answer.refusal is None else answer.refusal.code.value
        body = answer.body if is_kept and isinstance(answer.body, bytes) else b""
        self.here.recorder.note(origin, answer.status, code, body)
        note_answered(origin, answer.status, time.monotonic_ns())
        return answer

    def _answer(self, admitted: Admitted, raw: bytes, stream: Source | None) -> Answer:
        route = admitted.route
        body = None if stream is not None else self._decoded(route, raw)
        if body is not None:
            _note_names(admitted.origin, body)
        call = Call(
            self.here,
            route,
            admitted.path,
            body,
            admitted.caller,
            admitted.values,
            admitted.origin,
            stream,
            admitted.key,
        )
        if call.entities is not None:
            require_visible(call)
        answer = route.view(call)
        return answer if call.may_read else for_non_reader(answer)

    def _decoded(self, route: Route, raw: bytes) -> Any:
        if route.body is None:
            if raw:
                raise malformed("This request takes no body.", field="body")
            return None
        if not raw and not route.body.optional:
            raise malformed("The request needs a JSON body.")
        return self._bodies[route].decode(raw or b"{}")


def _note_names(origin: Origin, body: Any) -> None:
    """Note what a body names, for those who look for it in the audit."""
    origin.external_id = getattr(body, "external_id", None)
    origin.account_id = (
        origin.account_id or getattr(body, "source_account_id", None) or getattr(body, "account_id", None)
    )


def _allowed(by_method: Mapping[str, Route]) -> list[str]:
    """The methods of a path."""
    return sorted({*by_method, "OPTIONS", *(["HEAD"] if "GET" in by_method else [])})


def _options_of(path: str, by_method: Mapping[str, Route]) -> Route:
    """What tells the methods of a path."""
    allow = "allow", ", ".join(_allowed(by_method))
    return Route(
        "options", "OPTIONS", path, lambda _: Answer(204, b"", [allow]), "The methods of this path", None, {204: None}
    )


def _refused(error: Exception) -> Answer:
    if isinstance(error, Refused):
        answer = problem(error.refusal)
        answer.headers += error.headers
        return answer
    if isinstance(error, Fault):
        return problem_of(error)
    return problem(unexpected(error))


def _pattern(path: str) -> re.Pattern[str]:
    """A path as a pattern. Only an account's id may hold slashes."""
    parts = re.split(r"\{(\w+)\}", path)
    pattern = "".join(
        re.escape(part) if n % 2 == 0 else f"(?P<{part}>{'.+' if part == 'account_id' else '[^/]+'})"
        for n, part in enumerate(parts)
    )
    return re.compile(pattern, re.DOTALL)


def _refuse_nul(request: Request) -> None:
    if "\x00" in request.path or "%00" in request.query:
        raise malformed("The URL holds a NUL character, which the ledger cannot keep.")


def _key(request: Request) -> str:
    """The API key that a request brings; empty where it brings none."""
    kind, _, key = (request.header("Authorization") or "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _media_type(request: Request) -> str:
    return (request.header("Content-Type") or "").partition(";")[0].strip().lower()


def _parameters(route: Route, query: str) -> dict[Any, Any]:
    """The values of the query parameters: each known, each once, each readable."""
    if not query:
        _require(route, ())
        return {}
    declared = {one.name: one for one in route.parameters}
    values: dict[Any, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except (UnicodeDecodeError, ValueError):
        raise malformed("The query is not URL-encoded UTF-8 of at most 100 parameters.") from None
    for name, text in pairs:
        parameter = declared.get(name)
        if parameter is None:
            known = f" It takes {', '.join(declared)}." if declared else " It takes none."
            raise malformed(f"This request has no query parameter {name!r}.{known}", field=name)
        if parameter in values:
            raise malformed(f"The query parameter {name!r} is given twice.", field=name)
        values[parameter] = parameter.read(text)
    _require(route, values)
    return values


def _require(route: Route, given: Sequence[Any] | Mapping[Any, Any]) -> None:
    for parameter in route.parameters:
        if parameter.required and parameter not in given:
            raise malformed(f"Give the query parameter {parameter.name}.", field=parameter.name)


def _headers(route: Route, request: Request) -> dict[Any, Any]:
    """The values of the headers that the route honours; preconditions that it does not honour are refused."""
    values: dict[Any, Any] = {}
    honoured = set()
    for header in route.headers:
        honoured.add(header.name)
        text = request.header(header.name)
        if text is not None:
            values[header] = header.read(text)
    if route.method != "GET":
        for name in PRECONDITIONS:
            if name not in honoured and request.header(name) is not None:
                detail = f"This request does not honour {name} and would be carried out whatever it says; leave it out."
                raise malformed(detail, field=name)
    if route.body is not None:
        _refuse_encoding(request)
    return values


def _refuse_encoding(request: Request) -> None:
    """Refuse a compressed body: nobody could bound what it unpacks to."""
    encoding = request.header("Content-Encoding") or ""
    if encoding.strip().lower() not in ("", "identity"):
        raise Refused(unsupported_content_encoding(encoding))
