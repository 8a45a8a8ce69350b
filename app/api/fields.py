"""The types of fields in bodies: what a decoder checks, and what the OpenAPI document tells of the rest.

A limit that a decoder checks is a `Meta` of msgspec. One that the domain checks, because its refusal has a code of its
own, stands in the schema only (`extra_json_schema`), made from the constant that the domain checks.

Rules between several fields are named in a struct's class variable `rules`. They are checked where the fields are used,
because their refusals say more than a schema could; the document, and the clients made from it, learn them here. Each
is a part of `allOf`, or a keyword that generators of clients pass over, so that the struct stays one class in every
language.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta

from app.api.json_body import NO_NUL
from app.api.patterns import matching
from app.domain.accounts import ID_PATTERN, MAX_ID_LENGTH, RESERVED_ENDINGS
from app.domain.money import MAX_MINOR
from app.domain.payment_checks import LONGEST_EXPIRY_S, SHORTEST_EXPIRY_S
from app.domain.statement_source import MAX_SOURCE_NAME
from app.domain.wording import sized

LARGEST_METADATA = 16 * 1024
"""Bytes of metadata as JSON."""

ID_SCHEMA: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": ID_PATTERN}
"""An identifier. That it is in Normalization Form C, and printable throughout, no schema can say."""

CODE_PATTERN = "^[A-Z][A-Z0-9_]{2,15}$"

MOMENT_SCHEMA: Mapping[str, Any] = {"type": "string", "format": "date-time"}


def _told(**schema: Any) -> Meta:
    """What the document says of a field, beyond what its decoder checks."""
    return Meta(extra_json_schema=schema)


def one_of(values: Collection[str]) -> Meta:
    """Text that is one of these."""
    return _told(enum=sorted(values))


Id = Annotated[str, _told(**ID_SCHEMA)]
NewAccountId = Annotated[
    str,
    _told(**ID_SCHEMA, **{"not": {"pattern": f"({'|'.join(RESERVED_ENDINGS)})$"}}),
]
CurrencyCode = Annotated[
    str,
    matching(CODE_PATTERN, description="ISO 4217 or a code of your own"),
]
Name = Annotated[str, Meta(max_length=200, extra_json_schema={"pattern": NO_NUL})]
Description = Annotated[str, Meta(max_length=1_000, extra_json_schema={"pattern": NO_NUL})]
Reason = Annotated[str, Meta(min_length=1, max_length=1_000, extra_json_schema={"pattern": NO_NUL})]
SourceName = Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE_NAME, extra_json_schema={"pattern": ID_PATTERN})]
"""The name of a source of statements; like an id, it is printable throughout, which no schema can say."""
Metadata = Annotated[
    dict[str, Any], Meta(description=f"Yours: at most {sized(LARGEST_METADATA)} as JSON; comes back as it was sent")
]

NUMBER = "^[0-9]{1,18}$"
"""How a number of ours looks as an id."""

LARGEST_NUMBER = 10**18 - 1
"""The largest of them, which every database's and every client's 64 bits hold."""

Moment = Annotated[str, _told(**MOMENT_SCHEMA)]
"""A time of a body, as text: `in_utc` reads it. A decoder that makes a time of it would round what should be cut."""

Amount = Annotated[int, _told(format="int64", minimum=1, maximum=MAX_MINOR)]
"""Minor units that move."""
OverdraftLimit = Annotated[int, _told(format="int64", minimum=0, maximum=MAX_MINOR)]
Balance = Annotated[int, _told(format="int64", minimum=-MAX_MINOR, maximum=MAX_MINOR)]
Total = Annotated[int, _told(format="int64")]
"""Minor units added up or taken from each other."""
Count = Annotated[int, _told(format="int64", minimum=0)]
Version = Annotated[int, Meta(ge=0, le=2**63 - 1, extra_json_schema={"format": "int64"})]
ExpiryS = Annotated[int, _told(minimum=SHORTEST_EXPIRY_S, maximum=LONGEST_EXPIRY_S)]


class WrittenStatus(StrEnum):
    """Whether it is in the ledger, or what a dry run would post."""

    POSTED = "posted"
    DRY_RUN = "dry_run"


class Direction(StrEnum):
    """The side of an entry."""

    DEBIT = "debit"
    CREDIT = "credit"


def direction_of(amount_minor: int) -> Direction:
    """The side of a signed amount, debit positive."""
    return Direction.DEBIT if amount_minor > 0 else Direction.CREDIT


# Rules between fields

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


def number_of(text: str, digits: int = 18) -> int | None:
    """The whole number that a text is, such as an id of a path; None for what is none, or has more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None
