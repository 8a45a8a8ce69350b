"""Reading requests: bodies, query parameters and headers. What cannot be read is refused with a code."""

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from flask import request
from msgspec import Meta
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.request_refusals import (
    amount_not_integer,
    amount_unreadable,
    invalid_cursor,
    malformed_request,
    unsupported_content_encoding,
)
from app.api.responses import Refused
from app.domain.money import MAX_MINOR
from app.domain.payment_checks import refuse_decomposed, refuse_future
from app.domain.read_models import AsOf, TimeBasis
from app.domain.refusals import Refusal
from app.domain.timestamps import parse_time

LONGEST_PAGE = 1_000
DEFAULT_PAGE = 100
DEEPEST_METADATA = 32
"""Far below what any encoder, hash or database on the way could not handle."""

LONGEST_WAIT_S = 30.0
"""No request occupies a thread for longer; a longer preference is cut, and Preference-Applied says so."""

NUL = b"\\u0000"
"""The one character that JSON can spell and no ledger can keep; a bare one is not JSON."""

_REAL_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape itself: an even number of backslashes before it. After an odd number it is the text `\\u0000`."""

T = TypeVar("T")


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


class Body(Generic[T]):
    """A decoder for one kind of body: unknown fields, wrong types and missing fields are refused by name."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind, strict=True, float_hook=exact_number)

    def read(self) -> T:
        """The request's body."""
        return self.decode(raw_body())

    def read_or(self, default: T) -> T:
        """The request's body, or `default` if there is none."""
        raw = request.get_data(cache=False)
        return self.decode(raw) if raw else default

    def decode(self, raw: bytes) -> T:
        """Decode one JSON document."""
        if NUL in raw and _REAL_NUL.search(raw):
            raise malformed("The body holds a NUL character, which the ledger cannot keep.")
        return self.decode_clean(raw)

    def decode_clean(self, raw: bytes | msgspec.Raw) -> T:
        """Decode a document that is known to hold no NUL."""
        try:
            return self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(_body_refusal(str(error))) from error


def raw_body() -> bytes:
    """The request's body as it came; it must not be empty or encoded."""
    refuse_encoding()
    raw = _whole_body()
    if not raw:
        raise malformed("The request needs a JSON body.")
    return raw


def _whole_body() -> bytes:
    """All of the body; raises RequestEntityTooLarge if it is longer than this route allows.

    If the server ends the stream itself, this reads it without Werkzeug's three layers, which took a tenth of the time
    that Flask spends on a payment.
    """
    environ = request.environ
    length, limit = environ.get("CONTENT_LENGTH", ""), request.max_content_length
    if not (limit and "wsgi.input_terminated" in environ and length.isdecimal()):
        return request.get_data(cache=False)
    expected = int(length)
    if expected > limit:
        raise RequestEntityTooLarge
    source = environ["wsgi.input"]
    raw: bytes = source.read(expected)
    while len(raw) < expected and (more := source.read(expected - len(raw))):
        raw += more
    return raw


def refuse_encoding() -> None:
    """Refuse a compressed body: nothing bounds its size once it is unpacked."""
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise Refused(unsupported_content_encoding(encoding))


_AMOUNT_PATH = re.compile(r"at `\$[^`]*amount_minor`|overdraft_limit_minor`")


def _body_refusal(message: str) -> Refusal:
    if _AMOUNT_PATH.search(message) and message.startswith("Expected `int"):
        return amount_not_integer(message)
    if _AMOUNT_PATH.search(message) and "out of range" in message:
        return amount_unreadable(message)
    return malformed_request(message)


def page_limit() -> int:
    """`?limit=`: 1 to 1,000; 100 if it is not given."""
    text = request.args.get("limit")
    if text is None:
        return DEFAULT_PAGE
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= LONGEST_PAGE:
        raise Refused(invalid_cursor("limit", f"be a number from 1 to {LONGEST_PAGE}"))
    return int(text)


def after_number() -> int:
    """`?after=` of a list whose cursor is a number."""
    text = request.args.get("after", "0")
    if not text.isdecimal() or len(text) > 18:
        raise Refused(invalid_cursor("after", "be a cursor from `next`"))
    return int(text)


def only_parameters(*names: str) -> None:
    """Refuse query parameters that this resource does not know: a misspelt filter would widen the answer."""
    for name in request.args:
        if name not in names:
            raise malformed(f"Unknown query parameter {name!r}.", field=name)


def refuse_decomposed_parameters(*names: str) -> None:
    """Refuse ids among the query parameters under which nothing was found, if that may be for their Unicode form."""
    for name in names:
        if refusal := refuse_decomposed(name, request.args.get(name, "")):
            raise Refused(refusal)


def is_dry_run() -> bool:
    """`?dry_run=true`: decide and write nothing. A misspelt value is refused, for it would move money."""
    if not request.query_string:
        return False
    only_parameters("dry_run")
    text = request.args.get("dry_run", "false")
    if text not in ("true", "false"):
        raise malformed("dry_run must be true or false.", field="dry_run")
    return text == "true"


def expected_version(in_body: int | None) -> int | None:
    """The version that a request is based on: from the body, or from If-Match with the ETag of what it changes."""
    header = request.environ.get("HTTP_IF_MATCH")
    if header is None:
        return in_body
    match = re.fullmatch(r'"(\d{1,18})"', header.strip())
    if match is None:
        raise malformed('If-Match must be an ETag as it was answered, e.g. "7".', field="If-Match")
    if in_body is not None and in_body != int(match[1]):
        raise malformed("If-Match and expected_version differ.", field="expected_version")
    return int(match[1])


_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


def preferred_wait_s() -> float | None:
    """`Prefer: wait=N` (RFC 7240) in seconds; a preference that cannot be read is ignored, as the RFC asks."""
    header = request.environ.get("HTTP_PREFER")
    match = _WAIT.search(header) if header else None
    return None if match is None else min(float(match[1]), LONGEST_WAIT_S)


Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time of a body, as text: `in_utc` reads it. A decoder that makes a time of it would round what should be cut."""


def in_utc(text: str | None, name: str, hint: str = "") -> datetime | None:
    """A time of the request; one without offset is refused, for nobody could say years later what it meant."""
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise malformed(f"{name} {error}{hint}.", field=name) from None


def not_in_future(moment: datetime | None, name: str, now: datetime) -> datetime | None:
    """A time at which something has happened: one in the future is refused, beyond what clocks differ by."""
    if moment is not None and (refusal := refuse_future(name, moment, now)):
        raise Refused(refusal)
    return moment


def instant(name: str) -> AsOf | None:
    """The instant in the query parameter `name`, counted by the times that `by` names; None where none is given."""
    moment, by = in_utc(request.args.get(name), name, "; in a URL, a plus sign is %2B"), request.args.get("by")
    if moment is None:
        if by is not None:
            raise malformed(f"by says which times count at an instant; give {name} too.", field=name)
        return None
    try:
        as_of = AsOf(moment, TimeBasis(by or TimeBasis.EFFECTIVE))
        _ = as_of.before
    except ValueError:
        raise malformed("by must be effective or posted.", field="by") from None
    except OverflowError:
        raise malformed(f"{name} lies at the end of the calendar.", field=name) from None
    return as_of


def checked_metadata(metadata: dict[str, Any] | None, limit: int) -> dict[str, Any] | None:
    """Metadata of at most `limit` bytes as JSON, and not too deep."""
    if metadata is None:
        return None
    if len(msgspec.json.encode(metadata)) > limit:
        raise malformed(f"metadata is larger than {limit} bytes.", field="metadata")
    if _deeper_than(DEEPEST_METADATA, metadata):
        raise malformed(f"metadata is nested deeper than {DEEPEST_METADATA} levels.", field="metadata")
    return metadata


def _deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper_than(depth - 1, one) for one in inner)
