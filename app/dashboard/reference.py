"""The reference of the API at `/v1/reference`, made from the OpenAPI document: for integrators, and open to all.

It needs no script and asks no server, so it can be read while everything else is down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask import Blueprint, render_template
from markupsafe import Markup, escape

from app.api.application import all_routes
from app.api.conventions import CONVENTIONS
from app.api.json_body import NO_NUL
from app.api.openapi import document
from app.api.responses import catalogue
from app.api.routes import REFERENCE
from app.dashboard.frame import for_print, public
from app.domain.accounts import ID_PATTERN
from app.domain.money import MAX_MINOR

pages = Blueprint("reference", __name__)

Schema = Mapping[str, Any]

LIMITS = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {:,}",
    "pattern": "matches `{}`",
}

OF_CONVENTIONS = (MAX_MINOR, -MAX_MINOR, NO_NUL)


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter or a field."""

    name: str
    kind: Markup
    notes: Markup
    place: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A body as it was really sent or answered."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    name: str
    method: str
    path: str
    summary: Markup
    scope: str
    parameters: list[Row]
    asks: Markup | None
    answers: list[tuple[str, Markup]]
    refusals: list[tuple[str, list[str]]]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Chapter:
    """The operations on one kind of resource."""

    name: str
    about: str
    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Kind:
    """A body, or an enumeration."""

    name: str
    about: list[Markup]
    words: list[str]
    fields: list[Row]


@pages.get(REFERENCE)
@public
def page() -> str:
    """The whole reference."""
    return render_template("reference.html", content=_content(is_print=for_print()), chapters=_chapters())


@lru_cache(2)
def _content(*, is_print: bool) -> Markup:
    """The part that is the same for everybody until the next release; on paper everything is opened."""
    openapi = _document()
    kinds = [_kind(name, one) for name, one in sorted(openapi["components"]["schemas"].items())]
    return Markup(  # noqa: S704 - rendered by a template, which escapes
        render_template(
            "reference_content.html",
            about=[prose(one) for one in openapi["info"]["description"].split("\n\n")],
            conventions=list(_conventions()),
            chapters=_chapters(),
            kinds=kinds,
            problems=catalogue(),
            is_print=is_print,
        )
    )


def _conventions() -> Iterator[tuple[str, Markup]]:
    """What holds everywhere: a name, and what it means."""
    for paragraph in CONVENTIONS.strip().split("\n\n"):
        name, _, text = paragraph.removeprefix("**").partition(".** ")
        yield name, prose(" ".join(text.split()))


@lru_cache(1)
def _document() -> dict[str, Any]:
    return document(all_routes())


@lru_cache(1)
def _chapters() -> list[Chapter]:
    openapi = _document()
    found = {one["name"]: Chapter(one["name"], one["description"], []) for one in openapi["tags"]}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].operations.append(_operation(openapi, method, path, operation))
    return [one for one in found.values() if one.operations]


def _operation(openapi: Schema, method: str, path: str, operation: Schema) -> Operation:
    common = openapi["components"]["responses"]
    whole = {
        status: common[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        for status, one in operation["responses"].items()
    }
    body = operation.get("requestBody")
    return Operation(
        name=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=prose(operation["summary"]),
        scope=operation.get("description", "").removeprefix("Needs the scope ").partition(".")[0].strip("`"),
        parameters=[_parameter(one) for one in operation["parameters"]],
        asks=None if body is None else _contents(body["content"]),
        answers=[
            (status, _contents(one["content"]) if "content" in one else Markup("nothing"))
            for status, one in whole.items()
            if int(status) < 400 or "x-codes" not in one
        ],
        refusals=[(status, one["x-codes"]) for status, one in whole.items() if "x-codes" in one],
        examples=list(_examples(body, whole)),
    )


def _parameter(one: Schema) -> Row:
    notes = [one.get("description", ""), *limits(one["schema"])]
    if one.get("required") and one["in"] != "path":
        notes.append("required")
    return Row(one["name"], kind_of(one["schema"]), _joined(notes), one["in"])


def _contents(content: Schema) -> Markup:
    """What a body is, in each of its forms."""
    said = []
    for media_type, one in content.items():
        kind = kind_of(one["schema"])
        plain = media_type in ("application/json", "application/problem+json")
        said.append(kind if plain else kind + Markup(" as <code>{}</code>").format(media_type))
    return Markup(", or ").join(dict.fromkeys(said))


def _examples(body: Schema | None, answers: Mapping[str, Schema]) -> Iterator[Example]:
    """The examples of a request and of its answers."""
    asked = [] if body is None else [("Request", body["content"])]
    for title, content in [*asked, *((status, one.get("content", {})) for status, one in answers.items())]:
        for one in content.values():
            for name, example in one.get("examples", {}).items():
                yield Example(
                    f"{title}: {example.get('summary', name)}",
                    json.dumps(example["value"], indent=2, ensure_ascii=False),
                )


def _kind(name: str, schema: Schema) -> Kind:
    required = schema.get("required", ())
    fields = [
        Row(field, kind_of(one), _joined([*(() if field in required else ("optional",)), *limits(one)]))
        for field, one in schema.get("properties", {}).items()
    ]
    about = [prose(" ".join(one.split())) for one in schema.get("description", "").split("\n\n") if one]
    return Kind(name, about, schema.get("enum", []), fields)


# Words


def prose(text: str) -> Markup:
    """A description: what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _joined(notes: list[str]) -> Markup:
    return prose("; ".join(note.removesuffix(".") for note in notes if note))


def kind_of(schema: Schema) -> Markup:
    """What a schema takes, with links to the bodies it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#body-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(map(kind_of, schema["anyOf"]))
    if schema.get("type") == "array":
        return Markup("list of {}").format(kind_of(schema.get("items", {})))
    if "data" in schema.get("properties", {}):
        return Markup("page of {}").format(kind_of(schema["properties"]["data"]["items"]))
    if "enum" in schema and len(schema["enum"]) < 8:
        return Markup(" or ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    kinds = schema.get("type", "anything")
    return escape(" or ".join(kinds) if isinstance(kinds, list) else _formatted(kinds, schema))


def _formatted(kind: str, schema: Schema) -> str:
    return f"{kind} ({schema['format']})" if schema.get("format") in ("date-time", "uri-reference") else kind


def limits(schema: Schema) -> list[str]:
    """The bounds that a schema sets, in words; without those that the conventions tell of every amount and id."""
    parts = [schema, *schema.get("anyOf", ())]
    found = [
        "not empty" if (name, part[name]) == ("minLength", 1) else text.format(part[name])
        for part in parts
        for name, text in LIMITS.items()
        if name in part and part[name] not in OF_CONVENTIONS
    ]
    found = [] if ID_PATTERN in (part.get("pattern") for part in parts) else found
    return found + [part["description"] for part in parts if "description" in part and "type" in part]
