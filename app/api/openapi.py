"""The API reference: an OpenAPI 3.1 document made from the declared routes, and the catalogue of problems."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from app.api.gate import NDJSON
from app.api.responses import Answer, catalogue, json_answer
from app.api.routes import Call, Header, Kinds, Parameter, Route, Routes
from app.domain.refusals import RefusalCode

routes = Routes()

API_VERSION = "1.0.0"

SCHEMAS = "#/components/schemas/"


class Problem(Struct):
    """A refusal (RFC 9457) with a stable code; further members are the figures that explain it."""

    type: str
    title: str
    status: int
    code: Annotated[str, Meta(extra_json_schema={"enum": [code.value for code in RefusalCode]})]
    detail: str
    retryable: bool


class ProblemKind(Struct):
    """One code of the catalogue; the order is that of precedence."""

    code: Annotated[str, Meta(extra_json_schema={"enum": [code.value for code in RefusalCode]})]
    status: int
    retryable: bool
    title: str


_HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "Where it can be read.", "schema": {"type": "string"}},
    "ETag": {"description": "The version of what is answered.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: the recorded answer to an earlier request with the same external_id.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Preference-Applied": {"description": "`wait=N`: how long the answer could wait.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds, where a retry makes sense.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "With 401.", "schema": {"type": "string"}},
    "Allow": {"description": "With 405: the methods that are possible.", "schema": {"type": "string"}},
}

_TAGS = {
    "accounts": "Accounts, their balances, entries and changes",
    "assets": "What accounts may be kept in",
    "payments": "Payments, authorizations, batches and refunds",
    "journals": "Journals and reversals",
    "evidence": "Evidence of a movement, and signed heads",
    "reports": "Trial balance and conflicts",
    "operations": "Health, metrics and this reference",
}


@routes.add(
    "GET",
    "/v1/problems",
    "The catalogue of refusals, in order of precedence",
    scope=None,
    answers={200: ProblemKind},
    paged=True,
)
def list_problems(call: Call[None]) -> Answer:  # noqa: ARG001 - it asks nothing
    """Every code, its status, and whether the same request may succeed later."""
    data = [ProblemKind(code.value, status, retryable, title) for code, status, retryable, title in catalogue()]
    return json_answer({"data": data, "next": None})


@routes.add("GET", "/v1/openapi.json", "This document", scope=None, answers={200: None})
def openapi(call: Call[None]) -> Answer:  # noqa: ARG001 - it asks nothing
    """The OpenAPI document."""
    from app.api.application import all_routes

    return json_answer(_document(tuple(all_routes())))


@cache
def _document(declared: tuple[Route, ...]) -> dict[str, Any]:
    return document(declared)


def document(declared: Iterable[Route]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of these routes."""
    ordered = sorted(declared, key=lambda route: (route.path, route.method))
    paths: dict[str, Any] = {}
    for route in ordered:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": API_VERSION,
            "description": "A balance cache with a durable double-entry ledger. Amounts are integers in minor units.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(ordered),
            "headers": _HEADERS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _schemas(declared: Iterable[Route]) -> dict[str, Any]:
    """The schemas of all bodies. A default that a field has when it is left out is no part of the contract: generators
    take a field with a default for one that is always there."""
    kinds: set[type] = {Problem}
    for route in declared:
        kinds |= {kind for answer in route.answers.values() for kind in _several(answer)}
        kinds |= {route.body.kind} if route.body else set()
        kinds |= {route.lines.asked, route.lines.answered} if route.lines else set()
    by_name = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(by_name, ref_template=SCHEMAS + "{name}")
    for schema in schemas.values():
        for one in schema.get("properties", {}).values():
            one.pop("default", None)
    return schemas


def _several(answer: Kinds) -> tuple[type, ...]:
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _operation(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "parameters": [
            *[{"name": name, "in": "path", "required": True, "schema": _id(name)} for name in route.variables],
            *map(_parameter, route.parameters),
            *map(_header, route.headers),
        ],
        "responses": _responses(route),
    }
    if route.scope is None:
        described["security"] = []
    else:
        described["description"] = f"Needs the scope `{route.scope.value}`."
    if route.body is not None:
        content = {"application/json": _schema(route.body.kind)}
        content |= {NDJSON: _schema(route.lines.asked)} if route.lines else {}
        described["requestBody"] = {"required": not route.body.optional, "content": content}
    return described


def _tag(path: str) -> str:
    first = path.removeprefix("/v1/").partition("/")[0]
    return first if path.startswith("/v1/") and first in _TAGS else "operations"


def _id(name: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": 128} if name == "account_id" else {"type": "string"}


def _parameter(declared: Parameter[Any]) -> dict[str, Any]:
    described = {"description": declared.description} if declared.description else {}
    required = {"required": True} if declared.required else {}
    return {"name": declared.name, "in": "query", **described, **required, "schema": dict(declared.schema)}


def _header(declared: Header[Any]) -> dict[str, Any]:
    return {
        "name": declared.name,
        "in": "header",
        "description": declared.description,
        "schema": dict(declared.schema),
    }


def _responses(route: Route) -> dict[str, Any]:
    described = {str(status): _response(route, status, answer) for status, answer in route.answers.items()}
    if route.lines is not None:
        described["200"]["content"][NDJSON] = _schema(route.lines.answered)
    refusal = {
        "description": "A refusal",
        "headers": _header_references("Retry-After", "WWW-Authenticate", "Allow", "Idempotent-Replayed"),
        "content": {"application/problem+json": _schema(Problem)},
    }
    return {**described, "default": refusal}


def _response(route: Route, status: int, answer: Kinds) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "Not modified" if status == 304 else "Done"}
    if headers := _header_references(*_answer_headers(route, status)):
        described["headers"] = headers
    schemas = [_schema(kind)["schema"] for kind in _several(answer)]
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        described["content"] = {"application/json": {"schema": _page_of(schema) if route.paged else schema}}
    return described


def _answer_headers(route: Route, status: int) -> list[str]:
    """The headers that an answer may carry, by what the route declares."""
    honoured = {one.name for one in route.headers}
    names = ["Location"] if status == 201 else []
    names += ["ETag"] if "If-None-Match" in honoured else []
    names += ["Preference-Applied"] if "Prefer" in honoured else []
    names += ["Idempotent-Replayed"] if status == 200 and route.method == "POST" else []
    return names


def _header_references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema(kind: type) -> dict[str, Any]:
    return {"schema": {"$ref": f"{SCHEMAS}{kind.__name__}"}}


def _page_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {"data": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}},
    }
