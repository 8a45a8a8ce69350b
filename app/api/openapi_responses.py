"""The answers of a route in the OpenAPI document: what succeeds, and every refusal by its status."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from msgspec import Struct

from app.api.fields import Rules
from app.api.gate import NDJSON
from app.api.parameters import (
    ETAG,
    IDEMPOTENT_REPLAYED,
    PREFERENCE_APPLIED,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    REQUEST_ID,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
)
from app.api.responses import WITH_RETRY_AFTER, status_of
from app.api.route_refusals import codes_of
from app.api.routes import AnswerHeader, Kinds, Route, Text
from app.domain.refusals import RefusalCode

SCHEMAS = "#/components/schemas/"


class Problem(Struct):
    """A refusal (RFC 9457) with a stable code; further members are the figures that explain it."""

    rules: ClassVar[Rules] = {"additionalProperties": True}

    type: str
    title: str
    status: int
    code: RefusalCode
    detail: str
    retryable: bool


def responses(route: Route, declared: Iterable[Route]) -> dict[str, Any]:
    """All answers of a route, by status; `declared` are all routes, where an answer says how to go on."""
    found = {str(status): _success(route, status, answer) for status, answer in route.answers.items()}
    if links := _links(route, declared):
        found["201"]["links"] = links
    if route.lines is not None:
        found["200"]["content"][NDJSON] = schema_of(route.lines.answered)
    for status, codes in _by_status(codes_of(route)).items():
        refusal = _refusal(status, codes, _headers_of_refusals(route))
        if str(status) in found:
            found[str(status)]["content"] |= refusal["content"]
        else:
            found[str(status)] = _shared(refusal)
    return found


def schema_of(kind: type) -> dict[str, Any]:
    """A reference to the schema of a body."""
    return {"schema": {"type": "object"} if kind is dict else {"$ref": f"{SCHEMAS}{kind.__name__}"}}


def several(answer: Kinds) -> tuple[type, ...]:
    """The kinds of JSON bodies of an answer."""
    if answer is None or isinstance(answer, Text):
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


# What succeeds


def _success(route: Route, status: int, answer: Kinds) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _SUCCESS.get(status, "Done"),
        "headers": _references(_headers_of_success(route, status)),
    }
    if isinstance(answer, Text):
        described["content"] = {answer.media_type: {"schema": {"type": "string"}}}
    schemas = [schema_of(kind)["schema"] for kind in several(answer)]
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        described["content"] = {"application/json": {"schema": _page_of(schema) if route.paged else schema}}
    return described


def _links(route: Route, declared: Iterable[Route]) -> dict[str, Any]:
    """What can be asked about what a route has made, by the id in its answer."""
    made = [name for kind in several(route.answers.get(201)) for name in getattr(kind, "__struct_fields__", ())]
    return {
        target.name: {"operationId": target.name, "parameters": {name: f"$response.body#/{name}"}}
        for target in declared
        for name in target.variables
        if f"{target.path}/".startswith(f"{route.path}/{{{name}}}/") and name in made
    }


_SUCCESS = {201: "Made", 304: "Not modified"}


def _headers_of_success(route: Route, status: int) -> Iterable[AnswerHeader]:
    always = [] if route.scope is None else [RATE_LIMIT_POLICY, RATE_LIMIT]
    if status == 304:
        return [REQUEST_ID, *(one for one in route.sends if one is ETAG), *always]
    own = (one for one in route.sends if one is not IDEMPOTENT_REPLAYED or status == 200)
    return [REQUEST_ID, *own, *always]


def _page_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {"data": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}},
    }


# What is refused


def _by_status(codes: Iterable[RefusalCode]) -> dict[int, list[RefusalCode]]:
    found: dict[int, list[RefusalCode]] = {}
    for code in codes:
        found.setdefault(status_of(code), []).append(code)
    return dict(sorted(found.items()))


def _headers_of_refusals(route: Route) -> list[AnswerHeader]:
    """What a refusal may tell because of the route: a recorded one, or one that came while the caller waited."""
    return [one for one in route.sends if one in (IDEMPOTENT_REPLAYED, PREFERENCE_APPLIED)]


def _refusal(status: int, codes: Iterable[RefusalCode], headers: Iterable[AnswerHeader]) -> dict[str, Any]:
    told = [REQUEST_ID, *(headers if status in _OF_VIEWS else ())]
    told += [RETRY_AFTER] if status in WITH_RETRY_AFTER else []
    told += [WWW_AUTHENTICATE] if status == 401 else []
    told += [RATE_LIMIT_POLICY, RATE_LIMIT]
    return {
        "description": "Refused: " + ", ".join(f"`{code.value}`" for code in codes),
        "headers": _references(told),
        "content": {"application/problem+json": schema_of(Problem)},
        "x-codes": [code.value for code in codes],
    }


_OF_VIEWS = frozenset({404, 409, 422, 503})
"""The statuses of what is refused after a payment was looked at; the others come from the gate."""


def _references(headers: Iterable[AnswerHeader]) -> dict[str, Any]:
    return {one.name: {"$ref": f"#/components/headers/{one.name}"} for one in headers}


_NAMES = {
    "Malformed": [RefusalCode.MALFORMED_REQUEST],
    "Unauthenticated": [RefusalCode.UNAUTHENTICATED],
    "Forbidden": [RefusalCode.FORBIDDEN],
    "TooMany": [RefusalCode.RATE_LIMITED],
    "TooSlow": [RefusalCode.REQUEST_TIMEOUT],
    "TooLarge": [RefusalCode.PAYLOAD_TOO_LARGE],
    "Encoded": [RefusalCode.UNSUPPORTED_CONTENT_ENCODING],
    "Failed": [RefusalCode.INTERNAL_ERROR],
}
COMMON = {name: _refusal(status_of(codes[0]), codes, ()) for name, codes in _NAMES.items()}
"""The refusals that many routes share word for word."""


def _shared(refusal: dict[str, Any]) -> dict[str, Any]:
    name = next((name for name, one in COMMON.items() if one == refusal), None)
    return refusal if name is None else {"$ref": f"#/components/responses/{name}"}
