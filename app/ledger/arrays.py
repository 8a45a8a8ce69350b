"""Arrays as parameters, as their text: at a tenth of the driver's cost."""

from collections.abc import Collection, Iterable
from typing import Any


def array(values: Collection[str]) -> str | list[Any]:
    """Texts as the text of an array; with a NUL, which no text has, the driver's own, which says so."""
    joined = "\0".join(values)
    if joined.count("\0") != max(0, len(values) - 1):
        return list(values)
    if not values:
        return "{}"
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + escaped.replace("\0", '","') + '"}'


def numbers(values: Iterable[int]) -> str:
    """Integers as the text of an array."""
    return "{" + ",".join(map(str, values)) + "}"


def bytes_array(values: Collection[bytes]) -> str:
    """Values as the text of an array of bytea."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"
