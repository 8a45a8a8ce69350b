"""Rules about several fields of a body: how the OpenAPI document tells them.

A struct names them in the class variable `rules`. They are checked where the fields are used, because their refusals
say more than a schema could; the document, and the clients made from it, learn them here. Each is a part of `allOf`, or
a keyword that generators of clients pass over, so that the struct stays one class in every language.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Rules = Mapping[str, Any]


def exactly_one(fields: Mapping[str, str | bool]) -> Rules:
    """Exactly one of these fields is given: as a value of this type, or as this value. Null counts as not given."""
    return {"allOf": [{"oneOf": [_has(name, kind) for name, kind in fields.items()]}]}


def at_least_one(names: Sequence[str]) -> Rules:
    """At least one of these fields is given, be it as null."""
    return {"allOf": [{"anyOf": [{"required": [name]} for name in names]}]}


def each_needs(names: Sequence[str], needed: str, kind: str) -> Rules:
    """With any of these fields another one is needed, as a value of this type."""
    return {"dependentSchemas": {name: _has(needed, kind) for name in names}}


def _has(name: str, kind: str | bool) -> dict[str, Any]:
    value = {"type": kind} if isinstance(kind, str) else {"const": kind}
    return {"required": [name], "properties": {name: value}}
