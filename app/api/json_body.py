"""Reading JSON strictly: one document, no key twice, not too deep, no NUL, nothing unknown; metadata within bounds.

Decoders of JSON keep the last of two equal keys and recurse as deep as the document does. Both are looked for in the
bytes before anything is decoded, in every place where JSON enters: bodies, the payments of a batch, lines of a stream.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from app.api.allowed_values import explained
from app.api.request_refusals import amount_not_integer, amount_unreadable, malformed_request
from app.api.responses import Refused
from app.domain.money import MAX_MINOR
from app.domain.refusals import Refusal
from app.domain.wording import sized

DEEPEST = 40
"""Levels of arrays and objects: what metadata may have, and what stands around it."""

DEEPEST_METADATA = 32
"""Far below what any writer, hash or database on its way would stumble over."""

NUL = b"\\u0000"
"""The one character that JSON can spell and no ledger can keep; a bare one is not JSON."""

NO_NUL = r"^[^\x00]*$"
"""What the document says of text: anything but that character."""

_REAL_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape itself: an even number of backslashes before it. After an odd number it is the text `\\u0000`."""

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


def malformed(detail: str, **figures: object) -> Refused:
    """A malformed_request refusal, to be raised."""
    return Refused(malformed_request(detail, **figures))


def exact_number(text: str) -> float:
    """A number of the metadata with a fraction or an exponent; ValueError where it would not come back as sent.

    Doubles and the ledger's `jsonb` write a large one in different ways, so it has to be below 2^53.
    """
    number = float(text)
    if abs(number) > MAX_MINOR or not _is_exact(text, number):
        raise ValueError("A number that would not come back as it was sent; send it as a string")
    return number + 0.0  # a negative zero becomes zero


def _is_exact(text: str, number: float) -> bool:
    try:
        return Decimal(text) == Decimal(repr(number))
    except InvalidOperation:  # an exponent beyond all bounds
        return False


class RequestObject(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON object that a client sends. Unknown keys are refused; `JsonBody` counts on the other option."""


class JsonBody(Generic[T]):
    """A decoder for one kind of document: unknown fields, wrong types and missing fields are refused by name."""

    def __init__(self, kind: type[T], *, in_parts: bool = False) -> None:
        """`in_parts`: inner documents are left to be decoded one by one, and judged then."""
        self._kind = kind
        self._in_parts = in_parts
        self._decoder = msgspec.json.Decoder(kind, strict=True, float_hook=exact_number)

    def decode(self, raw: bytes) -> T:
        """Decode one document; raises Refused with the reason."""
        if not self._in_parts:
            require_shallow(raw)
            if NUL in raw and _REAL_NUL.search(raw):
                raise malformed("The body holds a NUL character, which the ledger cannot keep.")
        try:
            found = self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            require_shallow(raw)
            raise Refused(_refusal(str(error), self._kind)) from error
        if _may_repeat_a_key(raw, found):
            look_for_repeated_keys(raw, outermost_only=self._in_parts)
        return found


def _may_repeat_a_key(raw: bytes, found: object) -> bool:
    """Whether a document must be searched for repeated keys; `found` is what was read of it.

    Of two equal keys only one is read. So, where nothing is escaped, a document that has no more quotes than `found`
    has when it is written again, without defaults, has each key once. This costs half a microsecond, a search ten.
    """
    return b"\\" in raw or raw.count(b'"') != _encode(found).count(b'"')


def require_shallow(raw: bytes) -> None:
    """Refuse a document that is nested deeper than DEEPEST, before a decoder recurses into it."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(raw) > DEEPEST:
        raise malformed(f"The JSON is nested deeper than {DEEPEST} levels.", max_depth=DEEPEST)


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(one for one in range(256) if one not in b"[]{}")


def _depth(raw: bytes) -> int:
    """How deep arrays and objects are nested, whatever else is wrong with the document."""
    # Without escapes, every second piece between quotes is a string. A search for strings takes ten times as long.
    outside = _STRING.sub(b"", raw) if b"\\" in raw else b"".join(raw.split(b'"')[::2])
    deepest = depth = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def look_for_repeated_keys(raw: bytes, *, outermost_only: bool = False) -> None:
    """Refuse a document in which an object, or the outermost object, has a key twice."""
    repeated: list[str | None] = []
    json.loads(raw, object_pairs_hook=lambda pairs: _noted(pairs, repeated), parse_int=str, parse_float=str)
    # Inner objects end before outer ones, so the outermost is noted last.
    for key in repeated[-1:] if outermost_only else repeated:
        if key is not None:
            raise malformed(f"The key {key!r} stands twice in one JSON object; nothing was done.", field=key)


def _noted(pairs: list[tuple[str, Any]], repeated: list[str | None]) -> dict[str, Any]:
    found = dict(pairs)
    repeated.append(None if len(found) == len(pairs) else _first_repeated(pairs))
    return found


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


_AMOUNT_PATH = re.compile(r"at `\$[^`]*amount_minor`|overdraft_limit_minor`")


def _refusal(message: str, kind: type[Any]) -> Refusal:
    if _AMOUNT_PATH.search(message) and message.startswith("Expected `int"):
        return amount_not_integer(message)
    if _AMOUNT_PATH.search(message) and "out of range" in message:
        return amount_unreadable(message)
    if found := explained(message, kind):
        detail, field = found
        return malformed_request(detail, field=field)
    return malformed_request(message)


def checked_metadata(metadata: dict[str, Any] | None, limit: int) -> dict[str, Any] | None:
    """Metadata of at most `limit` bytes as JSON, and not too deep."""
    if metadata is None:
        return None
    if len(msgspec.json.encode(metadata)) > limit:
        raise malformed(f"metadata is larger than {sized(limit)}.", field="metadata")
    if _deeper_than(DEEPEST_METADATA, metadata):
        raise malformed(f"metadata is nested deeper than {DEEPEST_METADATA} levels.", field="metadata")
    return metadata


def _deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper_than(depth - 1, one) for one in inner)
