"""The API reference: an OpenAPI 3.1 document generated from the routes, and the catalogue of problems."""

import re
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app
from msgspec import Struct
from werkzeug.routing import Rule

from app.api.auth import OPERATION, Answer, Operation, operation
from app.api.responses import catalogue, json_response

blueprint = Blueprint("openapi", __name__)

API_VERSION = "1.0.0"

NDJSON = "application/x-ndjson"
"""One JSON document per line; each line has the schema."""


class Problem(Struct):
    """A refusal (RFC 9457) with a stable code; further members are the figures that explain it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool


class ProblemKind(Struct):
    """One code of the catalogue; the order is that of precedence."""

    code: str
    status: int
    retryable: bool
    title: str


_PARAMETERS: dict[str, dict[str, Any]] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
    "after": {"description": "The cursor from `next`.", "schema": {"type": "string"}},
    "entity_id": {"schema": {"type": "string"}},
    "currency_code": {"schema": {"type": "string"}},
    "dry_run": {
        "description": "`true`: the real checks and arithmetic, but nothing is written.",
        "schema": {"type": "boolean", "default": False},
    },
    "external_id": {"required": True, "schema": {"type": "string"}},
    "at": {
        "description": "An instant (RFC 3339), in milliseconds.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "as_of": {
        "description": "An instant (RFC 3339), in milliseconds. Accounts without entries by then are at zero.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "by": {
        "description": "Which times count at the instant: when entries take effect, or when they were posted.",
        "schema": {"type": "string", "enum": ["effective", "posted"], "default": "effective"},
    },
}
_HEADERS = {
    "Prefer": "`wait=N`: answer once the payment is posted, or after N seconds (RFC 7240).",
    "If-Match": "The ETag of a balance: the same as expected_version.",
    "If-None-Match": "The ETag of a balance: 304 while it is current.",
}
_PAGED = {
    "list_accounts",
    "list_entries",
    "find_payment",
    "conflicts",
    "list_problems",
    "list_changes",
    "list_assets",
    "list_refunds",
}


@blueprint.get("/v1/problems")
@operation("The catalogue of refusals, in order of precedence", scope=None, answers={200: ProblemKind})
def list_problems() -> Response:
    """Every code, its status, and whether the same request can succeed later."""
    data = [ProblemKind(code.value, status, retryable, title) for code, status, retryable, title in catalogue()]
    return json_response({"data": data, "next": None})


@blueprint.get("/v1/openapi.json")
@operation("This document", scope=None, answers={200: None})
def openapi() -> Response:
    """The OpenAPI document."""
    return json_response(document(list(current_app.url_map.iter_rules()), current_app.view_functions))


def document(rules: list[Rule], views: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of all routes that are operations."""
    described = [(rule, getattr(views[rule.endpoint], OPERATION, None)) for rule in rules]
    operations = [(rule, op) for rule, op in described if op is not None]
    kinds = {kind for _, op in operations for kind in (op.body, *_answered(op), *(op.lines or ())) if kind}
    ordered = sorted(kinds | {Problem}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for rule, op in sorted(operations, key=lambda pair: pair[0].rule):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule, op)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": API_VERSION,
            "description": "A balance cache with a durable double-entry ledger. Amounts are integers in minor units.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _answered(op: Operation) -> list[type]:
    """Every kind of body that a route answers with."""
    return [kind for answer in op.answers.values() for kind in _several(answer)]


def _several(answer: Answer) -> tuple[type, ...]:
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _operation(rule: Rule, op: Operation) -> dict[str, Any]:
    name = rule.endpoint.rpartition(".")[2]
    parameters: list[dict[str, Any]] = [
        {"name": argument, "in": "path", "required": True, "schema": {"type": "string"}}
        for argument in sorted(rule.arguments)
    ]
    parameters += [{"name": parameter, "in": "query", **_PARAMETERS[parameter]} for parameter in op.parameters]
    parameters += [
        {"name": header, "in": "header", "description": _HEADERS[header], "schema": {"type": "string"}}
        for header in op.headers
    ]
    result: dict[str, Any] = {
        "operationId": name,
        "summary": op.summary,
        "parameters": parameters,
        "responses": {str(status): _answer(name, status, kind) for status, kind in op.answers.items()}
        | {"default": {"description": "A refusal", "content": {"application/problem+json": _schema(Problem)}}},
    }
    if op.scope is None:
        result["security"] = []
    else:
        result["description"] = f"Needs the scope `{op.scope.value}`."
    if op.body is not None:
        result["requestBody"] = {"required": True, "content": {"application/json": _schema(op.body)}}
    if op.lines is not None:
        line, answer = op.lines
        result["requestBody"]["content"][NDJSON] = _schema(line)
        result["responses"]["200"]["content"][NDJSON] = _schema(answer)
    return result


def _answer(name: str, status: int, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "Not modified" if status == 304 else "Done"}
    schemas = [_schema(kind) for kind in _several(answer)]
    if schemas:
        schema = schemas[0]
        if len(schemas) > 1:
            schema = {"schema": {"anyOf": [one["schema"] for one in schemas]}}
        if name in _PAGED:
            schema = {"schema": _page_of(schema["schema"])}
        described["content"] = {"application/json": schema}
    return described


def _schema(kind: type) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def _page_of(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {"data": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}},
    }
