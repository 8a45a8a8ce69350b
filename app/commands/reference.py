"""`reference`: write the API reference from the routes themselves, as `docs/API.md` and `docs/openapi.json`.

What the Python client takes from it, `clients/python/generate.py` makes in the same run.

It needs no running server: the application is built over services that nobody calls. Where the two files differ from
what this makes of the routes, a test fails. `docs/API.md` is the OpenAPI document for people: its conventions are
in `app/api/conventions.py`, and everything else is taken from the document.
"""

import argparse
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from app.api.application import all_routes
from app.api.conventions import CONVENTIONS, listed
from app.api.evidence_schema import packet_schema
from app.api.json_body import NO_NUL
from app.api.openapi import document
from app.api.responses import catalogue
from app.command_line import PROJECT
from app.domain.accounts import ID_PATTERN, MAX_ID_LENGTH
from app.domain.money import MAX_MINOR

DOCS = PROJECT / "docs"
CLIENT_GENERATOR = PROJECT / "clients" / "python" / "generate.py"
WIDTH = 118

Schema = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Write both files, and say where."""
    DOCS.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(PROJECT)}")
    return 0


def files() -> dict[Path, str]:
    """The generated files and what must stand in them."""
    openapi = openapi_document()
    return {
        DOCS / "openapi.json": json.dumps(openapi, indent=2, ensure_ascii=False) + "\n",
        DOCS / "API.md": api_markdown(openapi),
        DOCS / "evidence.schema.json": json.dumps(packet_schema(), indent=2) + "\n",
        **runpy.run_path(str(CLIENT_GENERATOR))["written"](openapi),
    }


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document that a server of this version answers."""
    return document(all_routes())


def api_markdown(openapi: Schema) -> str:
    """The reference for people: conventions, endpoints, refusals."""
    endpoints = Endpoints(openapi)
    lines = [*_filled(f"{INTRODUCTION}\n{CONVENTIONS}"), "## Endpoints", "", *_overview(openapi), ""]
    lines += [*endpoints.lines(), *_refusals(), *endpoints.problem()]
    return "\n".join(lines).rstrip() + "\n"


def _filled(text: str) -> Iterator[str]:
    """The paragraphs of a text, wrapped after its values were filled in."""
    for paragraph in text.strip().split("\n\n"):
        yield from (fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False), "")


INTRODUCTION = """\
# The API

This file is generated: `python3 -m app reference` writes it from the routes. The same as OpenAPI 3.1: `openapi.json`
beside this file, and `GET /v1/openapi.json` on a running server. `README.md` has a session with real answers.

## Conventions
"""


def _overview(openapi: Schema) -> list[str]:
    lines = ["| endpoint | | scope |", "|---|---|---|"]
    for method, path, operation in _operations(openapi):
        title = f"{method.upper()} {path}"
        lines.append(f"| [`{title}`](#{_anchor(title)}) | {operation['summary']} | {_scope(operation)} |")
    return lines


def _operations(openapi: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _scope(operation: Schema) -> str:
    """The document says it in its description, as `Needs the scope ...`."""
    description: str = operation.get("description", "")
    return description.removeprefix("Needs the scope ").partition(".")[0] or "none"


class Endpoints:
    """The chapter of endpoints; a kind of body is described where it first appears, and linked after that."""

    def __init__(self, openapi: Schema) -> None:
        self._openapi = openapi
        self._schemas: dict[str, Schema] = openapi["components"]["schemas"]
        self._described: set[str] = set()

    def lines(self) -> Iterator[str]:
        """All endpoints, in order of their paths."""
        for method, path, operation in _operations(self._openapi):
            yield from (f"### {method.upper()} {path}", "", f"{operation['summary']}. Scope: {_scope(operation)}.", "")
            yield from self._parameters(operation["parameters"])
            yield from self._body(operation)
            yield from self._answers(operation["responses"])

    def _parameters(self, parameters: list[Schema]) -> Iterator[str]:
        if not parameters:
            return
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for one in parameters:
            notes = [one.get("description", ""), *_limits(one["schema"])]
            if one.get("required") and one["in"] != "path":
                notes.append("required")
            text = "; ".join(note for note in notes if note)
            yield f"| `{one['name']}` | {one['in']} | {self._type(one['schema'])} | {_cell(text)} |"
        yield ""

    def _body(self, operation: Schema) -> Iterator[str]:
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            yield from (f"Body: {self._type(schema)}.", "")
            yield from self._kinds(schema)

    def _answers(self, responses: Schema) -> Iterator[str]:
        whole = {status: self._resolved(response) for status, response in responses.items()}
        answers = {status: response for status, response in whole.items() if "x-codes" not in response}
        by_kind: dict[str, list[str]] = {}
        for status, response in answers.items():
            by_kind.setdefault(self._what(response), []).append(status)
        for what, statuses in by_kind.items():
            yield from (f"{', '.join(statuses)}: {what}.", "")
        refusals = [(status, one["x-codes"]) for status, one in whole.items() if "x-codes" in one]
        yield from _filled("Refused: " + "; ".join(f"{status} {listed(codes)}" for status, codes in refusals) + ".")
        for response in answers.values():
            yield from self._kinds(_content(response))

    def _resolved(self, response: Schema) -> Schema:
        """A response, or the one of the components that it refers to."""
        if "$ref" not in response:
            return response
        found: Schema = self._openapi["components"]["responses"][_reference(response)]
        return found

    def _what(self, response: Schema) -> str:
        schema = _content(response)
        if not schema:
            return str(response["description"]).lower()
        [media_type, *_] = response["content"]
        return self._type(schema) if media_type == "application/json" else f"`{media_type}`"

    def problem(self) -> Iterator[str]:
        """The body of every refusal."""
        yield from self._kinds({"$ref": "#/components/schemas/Problem"})

    def _kinds(self, schema: Schema) -> Iterator[str]:
        """Describe each kind that a schema names and that has not been described yet, and the kinds inside it."""
        for name in _references(schema):
            if name in self._described:
                continue
            self._described.add(name)
            kind = self._schemas[name]
            yield from (f"#### {name}", "", kind.get("description", ""), "")
            if "enum" in kind:
                yield from (f"One of {listed(kind['enum'])}.", "")
                continue
            yield from self._fields(kind)
            yield from self._kinds({"properties": kind["properties"]})

    def _fields(self, kind: Schema) -> Iterator[str]:
        required = kind.get("required", [])
        yield from ("| field | type | |", "|---|---|---|")
        for name, schema in kind["properties"].items():
            notes = [] if name in required else ["optional"]
            if schema.get("default") is not None:
                notes.append(f"default `{json.dumps(schema['default'])}`")
            notes += _limits(schema)
            yield f"| `{name}` | {self._type(schema)} | {_cell('; '.join(notes))} |"
        yield ""

    def _type(self, schema: Schema) -> str:
        if "$ref" in schema:
            name = _reference(schema)
            return f"[{name}](#{_anchor(name)})"
        if "anyOf" in schema:
            return " or ".join(self._type(option) for option in schema["anyOf"])
        kind = schema.get("type", "any")
        if isinstance(kind, list):
            return " or ".join(kind)
        if kind == "array":
            return f"list of {self._type(schema['items'])}"
        if "data" in schema.get("properties", {}):
            return f"page of {self._type(schema['properties']['data']['items'])}"
        return f"{kind} ({schema['format']})" if schema.get("format") in _FORMATS else str(kind)


def _content(response: Schema) -> Schema:
    return next((content["schema"] for content in response.get("content", {}).values()), {})


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield _reference(schema)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _reference(schema: Schema) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


_FORMATS = ("date-time", "uri-reference")

_OF_CONVENTIONS = (MAX_MINOR, -MAX_MINOR, MAX_ID_LENGTH, ID_PATTERN, NO_NUL)

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "`{}`",
}


def _limits(schema: Schema) -> list[str]:
    """The bounds that a schema sets, in words; without those that the conventions tell of every amount and id."""
    parts = [schema, *schema.get("anyOf", ())]
    found = [
        text.format(part[name])
        for part in parts
        for name, text in _LIMITS.items()
        if name in part and part[name] not in _OF_CONVENTIONS
    ]
    return found + [part["description"] for part in parts if "description" in part and "type" in part]


def _refusals() -> Iterator[str]:
    text = """Of several that apply, the first in this order is given; of several faults in one body, the one that is
    met first in reading it."""
    yield from ("## Refusals", "", *_filled(" ".join(text.split())))
    yield from ("| code | status | retryable | title |", "|---|---|---|---|")
    for code, status, retryable, title in catalogue():
        yield f"| `{code.value}` | {status} | {'yes' if retryable else 'no'} | {title} |"
    yield ""


def _anchor(title: str) -> str:
    """The anchor that Markdown renderers give a heading."""
    kept = (character for character in title.lower() if character.isalnum() or character in " -_")
    return "".join(kept).replace(" ", "-")


def _cell(text: str) -> str:
    """Text as it may stand in a table."""
    return text.replace("|", "\\|")
