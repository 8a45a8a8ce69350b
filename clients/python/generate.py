#!/usr/bin/env python3
"""Writes `models.py` and `refusals.py` of the client from the OpenAPI document.

    python3 clients/python/generate.py

It needs `docs/openapi.json` and the standard library. Bodies become frozen dataclasses, enumerations become literals,
and each code of a refusal becomes an exception.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "openapi.json"
PACKAGE = HERE / "src" / "holdfast_client"

Schema = Mapping[str, Any]

RENAMED = {"AuditBody": "AuditRecord", "ChangeBody": "AccountChange"}
UNTYPED = {"Problem", "RefusalCode", "EvidencePacket", "NoFields"}
"""A problem has members of its own for each code, evidence is checked as it was sent, and codes are exceptions."""

NOT_FOR_CALLERS = {"408", "429", "500", "503"}
"""Statuses that say something of the servers, not of the request: the client repeats it, and then tells so."""

WIDTH = 120

MOST_WORDS = 7
"""As many words are an enumeration that users know; more are a catalogue."""


def name_of(schema_name: str) -> str:
    """A body's name in the client."""
    return RENAMED.get(schema_name) or schema_name.removesuffix("Body")


def type_of(schema: Schema) -> str:
    """A schema as a Python type."""
    if "anyOf" in schema:
        return " | ".join(sorted({type_of(one) for one in schema["anyOf"]}, key=lambda kind: kind == "None"))
    if "$ref" in schema:
        referred = schema["$ref"].rpartition("/")[2]
        if referred in UNTYPED:
            return "str" if referred == "RefusalCode" else "dict[str, Any]"
        return name_of(referred)
    if "enum" in schema:
        return literal(schema["enum"])
    kinds = schema.get("type", "object")
    if isinstance(kinds, list):
        return " | ".join(type_of({**schema, "type": kind}) for kind in kinds)
    if kinds == "array":
        return f"list[{type_of(schema.get('items', {}))}]"
    if kinds == "string" and schema.get("format") == "date-time":
        return "datetime"
    plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    return plain.get(kinds, "dict[str, Any]")


def literal(values: list[str]) -> str:
    """One of these texts; where there are many, as of codes, newer servers have more, and any text must do."""
    return f"Literal[{', '.join(map(json.dumps, values))}]" if len(values) <= MOST_WORDS else "str"


def docstring(schema: Schema, indent: str = "    ") -> str:
    """A schema's description."""
    text = schema.get("description", "").replace('"manual"', "'manual'").strip()
    paragraphs = [
        textwrap.fill(" ".join(one.split()), WIDTH - len(indent), subsequent_indent=indent, break_on_hyphens=False)
        for one in f'"""{text}'.split("\n\n")
    ]
    joined = indent + f"\n\n{indent}".join(paragraphs)
    is_short = "\n" not in joined and len(joined) + 3 <= WIDTH
    return f'{joined}"""' if is_short else f'{joined}\n{indent}"""'


def dataclass_of(name: str, schema: Schema) -> str:
    """A body as a frozen dataclass."""
    required = schema.get("required", [])
    is_asked = name.startswith("New")
    lines = [field_of(field, kind, field in required, is_asked) for field, kind in schema["properties"].items()]
    return "\n".join(
        ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name_of(name)}:", docstring(schema), "", *lines]
    )


def field_of(name: str, schema: Schema, is_required: bool, is_asked: bool) -> str:
    """One field."""
    kind = type_of(schema)
    if is_asked and name == "external_id":
        return f"    {name}: {kind} = field(default_factory=new_external_id)"
    if is_required:
        return f"    {name}: {kind}"
    return f"    {name}: {kind} = None" if kind.endswith("None") else f"    {name}: {kind} | None = None"


def alias(name: str, kind: str) -> str:
    """A name for a type, folded where its line is too long."""
    line = f"{name}: TypeAlias = {kind}"
    return line if len(line) <= WIDTH else line.replace("[", "[\n    ", 1)[:-1] + "\n]"


def used(schemas: Mapping[str, Schema]) -> set[str]:
    """The bodies that the client reads or writes: evidence stays as it was sent, because it is signed."""
    found = {name for name in schemas if not name.startswith("Evidence")}
    while more := {one for name in found for one in referred(schemas[name]) if one in schemas} - found:
        found |= more
    return {name for name in found if "properties" in schemas[name]}


def referred(schema: Schema) -> set[str]:
    """The names that a schema refers to."""
    return set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema)))


def models(document: Schema) -> str:
    """`models.py`."""
    schemas = {name: one for name, one in document["components"]["schemas"].items() if name not in UNTYPED}
    enumerations = [
        f"{alias(name_of(name), type_of(one))}\n{docstring(one, '')}" for name, one in schemas.items() if "enum" in one
    ]
    classes = [dataclass_of(name, one) for name, one in schemas.items() if name in used(schemas)]
    head = '''"""The bodies of requests and answers. `generate.py` makes this file; do not edit it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from holdfast_client.ids import new_external_id
'''
    return "\n\n\n".join(["\n\n".join([head.strip(), *enumerations]), *classes]) + "\n"


def codes(document: Schema) -> Iterator[tuple[str, str]]:
    """Every code that callers handle, with its status; some are told of one payment in a batch only."""
    found = {}
    for operation in (one for path in document["paths"].values() for one in path.values()):
        for status, answer in operation["responses"].items():
            named = answer.get("$ref", "").rpartition("/")[2]
            for code in (document["components"]["responses"][named] if named else answer).get("x-codes", ()):
                found[code] = status
    for code in sorted(document["components"]["schemas"]["RefusalCode"]["enum"]):
        if found.get(code) not in NOT_FOR_CALLERS:
            yield code, f", status {found[code]}" if code in found else ""


def refusals(document: Schema) -> str:
    """`refusals.py`."""
    head = '''"""An exception for each code of a refusal. `generate.py` makes this file; do not edit it."""

from __future__ import annotations

from holdfast_client.errors import Refused
'''
    classes = [
        f"class {''.join(part.capitalize() for part in code.split('_'))}(Refused):\n"
        f'    """`{code}`{status}."""\n\n    of_code = "{code}"'
        for code, status in codes(document)
    ]
    return "\n\n\n".join([head.strip(), *classes]) + "\n"


def written(document: Schema) -> dict[Path, str]:
    """The files and their content."""
    return {PACKAGE / "models.py": models(document), PACKAGE / "refusals.py": refusals(document)}


def main() -> None:
    """Write them."""
    for path, content in written(json.loads(DOCUMENT.read_text())).items():
        path.write_text(content)


if __name__ == "__main__":
    main()
