"""What a refused field may hold: the decoder says which field is wrong, and its declaration knows the values."""

import re
from ast import literal_eval
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

from app.api.patterns import as_documented

_ENUM = re.compile(r"Invalid enum value (?P<found>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_PATTERN = re.compile(r"Expected `str` matching regex (?P<pattern>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|(\[[^\]]*\])")


def explained(message: str, kind: type[Any]) -> tuple[str, str] | None:
    """A decoder's message with the values that the field takes, and the field's name; None for any other message.

    `kind` is what was decoded.
    """
    match = _ENUM.fullmatch(message)
    if match is not None:
        path = match["path"]
        values = _values_at(inspect.type_info(kind), _STEP.findall(path))
        return f"{path.removeprefix('.')} must be {_one_of(values)}, not {match['found']}.", _last_name(path)
    match = _PATTERN.fullmatch(message)
    if match is not None:
        path, pattern = match["path"], as_documented(literal_eval(match["pattern"]))
        return f"{path.removeprefix('.')} must match {pattern}.", _last_name(path)
    return None


def _one_of(values: Sequence[Any]) -> str:
    texts = [str(one) for one in values]
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"


def _last_name(path: str) -> str:
    names = [name for name, _ in _STEP.findall(path) if name]
    return names[-1] if names else "body"


def _values_at(found: inspect.Type, steps: Sequence[tuple[str, str]]) -> list[Any]:
    """The values of the enumeration or the literal that these steps lead to."""
    if isinstance(found, inspect.UnionType):
        return [value for one in found.types for value in _values_at(one, steps)]
    if isinstance(found, inspect.Metadata):
        return _values_at(found.type, steps)
    if not steps:
        if isinstance(found, inspect.EnumType):
            return [one.value for one in found.cls]
        return list(found.values) if isinstance(found, inspect.LiteralType) else []
    (name, _), *rest = steps
    if isinstance(found, inspect.StructType) and name:
        return [value for one in found.fields if one.encode_name == name for value in _values_at(one.type, rest)]
    if isinstance(found, inspect.ListType):
        return _values_at(found.item_type, rest)
    return _values_at(found.value_type, rest) if isinstance(found, inspect.DictType) else []
