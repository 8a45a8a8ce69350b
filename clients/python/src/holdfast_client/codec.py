"""From JSON to the dataclasses of `models.py` and back.

What the client does not know yet, a field or a word of an enumeration, is no error: servers may be newer than it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
Converter = Callable[[Any], Any]


def read(kind: type[T], value: Any) -> T:
    """A dataclass from a JSON object."""
    made: T = _converter(typing.cast("Hashable", kind))(value)
    return made


def plain(value: Any) -> Any:
    """A value as JSON has it; what is None in a dataclass is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        named = ((one.name, getattr(value, one.name)) for one in fields(value))
        return {name: plain(one) for name, one in named if one is not None}
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs a time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


@cache
def _converter(kind: Any) -> Converter:
    """What turns a JSON value into one of this type."""
    origin = typing.get_origin(kind)
    if kind is datetime:
        return datetime.fromisoformat
    if is_dataclass(kind):
        return _of_dataclass(kind)
    if origin is list:
        inner = _converter(typing.get_args(kind)[0])
        return lambda values: [inner(one) for one in values]
    if origin in (types.UnionType, typing.Union):
        [only, *others] = [one for one in typing.get_args(kind) if one is not type(None)]
        convert = _as_it_is if others else _converter(only)
        return lambda value: None if value is None else convert(value)
    return _as_it_is


def _of_dataclass(kind: Any) -> Converter:
    hints = typing.get_type_hints(kind)
    converters = {one.name: _converter(hints[one.name]) for one in fields(kind)}

    def convert(value: Any) -> Any:
        return kind(**{name: converters[name](one) for name, one in value.items() if name in converters})

    return convert


def _as_it_is(value: Any) -> Any:
    return value
