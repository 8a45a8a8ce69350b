"""The API reference: an OpenAPI 3.1 document made from the declared routes, and the catalogue of problems."""

from collections.abc import Iterable, Iterator
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Struct

from app.api.examples import add_examples
from app.api.fields import ID_SCHEMA
from app.api.gate import NDJSON
from app.api.json_body import NO_NUL
from app.api.openapi_responses import COMMON, SCHEMAS, Problem, responses, schema_of, several
from app.api.parameters import ANSWER_HEADERS
from app.api.patterns import as_documented
from app.api.responses import Answer, catalogue, json_answer
from app.api.routes import Call, Header, Parameter, Route, Routes
from app.domain.refusals import RefusalCode

routes = Routes()

API_VERSION = "1.0.0"


class ProblemKind(Struct):
    """One code of the catalogue; the order is that of precedence."""

    code: RefusalCode
    status: int
    retryable: bool
    title: str


_ABOUT = """\
A balance cache with a durable double-entry ledger. Amounts are integers in minor units.

Every path that can be read answers HEAD too, and every path answers OPTIONS with its methods in `Allow`. Another method
answers 405 `method_not_allowed`, and a path that is not here 404 `not_found`, both with a Problem."""

_TAGS = {
    "accounts": "Accounts, their balances, entries and changes",
    "assets": "What accounts may be kept in",
    "payments": "Payments, authorizations, batches and refunds",
    "journals": "Journals and reversals",
    "evidence": "Evidence of a movement, and signed heads",
    "events": "What the ledger tells others of",
    "webhooks": "Whom the ledger tells of events by itself",
    "monitors": "Conditions on an account's funds",
    "breaks": "Differences that were found, and what becomes of them",
    "reconciliation-runs": "Proofs that cache and ledger agree",
    "reconciliation-requests": "What was asked of the reconciliation",
    "reports": "Trial balance, balance sheet, income statement, conflicts, and the ageing of breaks",
    "statements": "What processors and banks state",
    "statement-sources": "How their files are written",
    "statement-imports": "Importing a file",
    "statement-accounts": "Matching statements with the ledger, and signing off",
    "matches": "Lines of statements and entries of the ledger that are the same movement",
    "keys": "API keys: what they may do, for whom, how long and how often",
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
    data = [ProblemKind(code, status, retryable, title) for code, status, retryable, title in catalogue()]
    return json_answer({"data": data, "next": None})


@routes.add("GET", "/v1/openapi.json", "This document", scope=None, answers={200: dict}, keeps_answer=False)
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
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, ordered)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": API_VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(ordered),
            "headers": {
                one.name: {"description": one.description, "schema": dict(one.schema)} for one in ANSWER_HEADERS
            },
            "responses": COMMON,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _schemas(declared: Iterable[Route]) -> dict[str, Any]:
    """The schemas of all bodies, with the rules that stand between their fields."""
    kinds: set[type] = {Problem}
    for route in declared:
        kinds |= {kind for answer in route.answers.values() for kind in several(answer) if kind is not dict}
        kinds |= {route.body.kind} if route.body else set()
        kinds |= {route.lines.asked, route.lines.answered} if route.lines else set()
    by_name = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(by_name, ref_template=SCHEMAS + "{name}")
    for kind in _structs(by_name):
        schemas[kind.__name__].update(getattr(kind, "rules", {}))
    for schema in schemas.values():
        _plain(schema)
    return schemas


def _structs(kinds: Iterable[type]) -> Iterator[type]:
    """These structs and those inside of them that have rules."""
    for info in msgspec.inspect.multi_type_info(list(kinds)):
        yield from _within(info)


def _within(info: Any) -> Iterator[type]:
    if isinstance(info, msgspec.inspect.StructType):
        yield info.cls
    for one in (*getattr(info, "fields", ()), *getattr(info, "types", ())):
        yield from _within(getattr(one, "type", one))
    for name in ("type", "item_type"):
        if hasattr(info, name):
            yield from _within(getattr(info, name))


def _plain(schema: dict[str, Any]) -> None:
    """What generators of clients take at its word, taken back.

    A field with a default they take for one that is always there; a reference with a type beside it for two types; an
    enumeration without a type for anything; and an object without a word on its fields for one that has none.
    And patterns in the spelling of decoders, which only Python reads.
    """
    if "description" in schema:
        schema["description"] = cleandoc(schema["description"])
    for one in [schema, *schema.get("properties", {}).values()]:
        one.pop("default", None)
        for part in _parts(one):
            if "enum" in part:
                part.setdefault("type", "string")
            if "pattern" in part:
                part["pattern"] = as_documented(part["pattern"])
            if "$ref" in part:
                part.pop("type", None)
            if part.get("type") == "object" and "properties" not in part:
                part.setdefault("additionalProperties", True)


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, what it chooses from, and what its lists hold."""
    yield schema
    for one in (*schema.get("anyOf", ()), *([schema["items"]] if isinstance(schema.get("items"), dict) else ())):
        yield from _parts(one)


def _operation(route: Route, declared: Iterable[Route]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "parameters": [
            *[{"name": name, "in": "path", "required": True, "schema": _id(name)} for name in route.variables],
            *map(_parameter, route.parameters),
            *map(_header, route.headers),
        ],
        "responses": responses(route, declared),
    }
    if route.scope is None:
        described["security"] = []
    else:
        bound = " Not for a key of some entities only." if route.of_installation else ""
        described["description"] = f"Needs the scope `{route.scope.value}`.{bound}"
    if route.body is not None:
        content = {"application/json": schema_of(route.body.kind)}
        content |= {NDJSON: schema_of(route.lines.asked)} if route.lines else {}
        described["requestBody"] = {"required": not route.body.optional, "content": content}
    add_examples(route, described)
    return described


def _tag(path: str) -> str:
    first = path.removeprefix("/v1/").partition("/")[0]
    return first if path.startswith("/v1/") and first in _TAGS else "operations"


def _id(name: str) -> dict[str, Any]:
    return dict(ID_SCHEMA) if name == "account_id" else {"type": "string", "minLength": 1, "pattern": NO_NUL}


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
