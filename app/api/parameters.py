"""The query parameters and headers of the API, each declared once: how it is read, its default, and its schema."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.api.json_body import malformed
from app.api.responses import Refused
from app.api.routes import Call, Header, Parameter
from app.domain.accounts import DEFAULT_ENTITY
from app.domain.read_models import AsOf, TimeBasis
from app.domain.refusals import Refusal, RefusalCode
from app.domain.timestamps import rfc3339

LONGEST_PAGE = 1_000
DEFAULT_PAGE = 100

LONGEST_WAIT_S = 30.0
"""No request waits longer; a longer wish is cut, and Preference-Applied says so."""


def _text(text: str) -> str:
    return text


def _invalid_cursor(detail: str, name: str) -> Refused:
    return Refused(Refusal(RefusalCode.INVALID_CURSOR, detail, {"field": name}))


def _page_limit(text: str) -> int:
    if not _is_number(text, 4) or not 1 <= int(text) <= LONGEST_PAGE:
        raise _invalid_cursor(f"limit must be a number from 1 to {LONGEST_PAGE}.", "limit")
    return int(text)


def _after_number(text: str) -> int:
    if not _is_number(text, 18):
        raise _invalid_cursor("after must be a cursor from `next`.", "after")
    return int(text)


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= digits


def _true_or_false(name: str) -> Callable[[str], bool]:
    def read(text: str) -> bool:
        if text not in ("true", "false"):
            raise malformed(f"{name} must be true or false.", field=name)
        return text == "true"

    return read


def _time_basis(text: str) -> TimeBasis:
    try:
        return TimeBasis(text)
    except ValueError:
        raise malformed("by must be effective or posted.", field="by") from None


def _instant(name: str) -> Callable[[str], datetime]:
    def read(text: str) -> datetime:
        try:
            moment = in_utc(msgspec.convert(text, datetime), name)
        except msgspec.ValidationError:
            raise malformed(
                f"{name} must be a time as in RFC 3339, e.g. 2026-01-31T09:30:00Z; in a URL, a plus sign is %2B.",
                field=name,
            ) from None
        assert moment is not None
        return moment

    return read


def in_utc(moment: datetime | None, name: str) -> datetime | None:
    """A time of a request; one without an offset is refused, for nobody could say years later what it meant."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise malformed(f"{name} needs an offset, e.g. 2026-01-31T09:30:00Z.", field=name)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise malformed(f"{name} lies outside of the years 1 to 9999.", field=name) from None


CLOCK_SKEW = timedelta(minutes=1)
"""How far a caller's clock may run ahead of ours."""


def not_in_future(moment: datetime | None, name: str, now: datetime) -> datetime | None:
    """A time at which something has happened: one in the future is refused, beyond what clocks differ by."""
    if moment is not None and moment > now + CLOCK_SKEW:
        raise Refused(
            Refusal(
                RefusalCode.EFFECTIVE_AT_IN_FUTURE,
                f"{name} {rfc3339(moment)} lies in the future, and a payment takes effect at once or has already; "
                "post what is to take effect later as a journal.",
                {"field": name, "now": rfc3339(now)},
            )
        )
    return moment


_MOMENT = {"type": "string", "format": "date-time"}

LIMIT: Parameter[int] = Parameter(
    "limit",
    _page_limit,
    DEFAULT_PAGE,
    {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": DEFAULT_PAGE},
)
AFTER: Parameter[str | None] = Parameter("after", _text, None, {"type": "string"}, "The cursor from `next`.")
AFTER_NUMBER: Parameter[int] = Parameter(
    "after", _after_number, 0, {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The cursor from `next`."
)
ENTITY: Parameter[str | None] = Parameter("entity_id", _text, None, {"type": "string"})
OF_ENTITY: Parameter[str] = Parameter("entity_id", _text, DEFAULT_ENTITY, {"type": "string", "default": DEFAULT_ENTITY})
CURRENCY: Parameter[str | None] = Parameter("currency_code", _text, None, {"type": "string"})
EXTERNAL_ID: Parameter[str | None] = Parameter("external_id", _text, None, {"type": "string"}, required=True)
DRY_RUN: Parameter[bool] = Parameter(
    "dry_run",
    _true_or_false("dry_run"),
    False,
    {"type": "boolean", "default": False},
    "`true`: the real checks and arithmetic, but nothing is written.",
)
AT: Parameter[datetime | None] = Parameter(
    "at", _instant("at"), None, _MOMENT, "An instant (RFC 3339), in milliseconds."
)
AS_OF: Parameter[datetime | None] = Parameter(
    "as_of",
    _instant("as_of"),
    None,
    _MOMENT,
    "An instant (RFC 3339), in milliseconds. Accounts without entries by then stand at zero.",
)
BY: Parameter[TimeBasis] = Parameter(
    "by",
    _time_basis,
    TimeBasis.EFFECTIVE,
    {"type": "string", "enum": [one.value for one in TimeBasis], "default": TimeBasis.EFFECTIVE.value},
    "Which times count at the instant: when entries take effect, or when they were posted. Without an instant it "
    "changes nothing.",
)


def as_of(call: Call[Any], instant: Parameter[datetime | None]) -> AsOf | None:
    """The instant that a request asks about, by the times that `by` names; None where it asks about now."""
    moment = call[instant]
    if moment is None:
        return None
    found = AsOf(moment, call[BY])
    try:
        _ = found.before
    except OverflowError:
        raise malformed(f"{instant.name} lies at the end of the calendar.", field=instant.name) from None
    return found


# Headers


def _version_of_etag(name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        match = re.fullmatch(r'"(\d{1,18})"', text.strip(), re.ASCII)
        if match is None:
            raise malformed(f'{name} must be one strong ETag as it was answered, e.g. "7".', field=name)
        return int(match[1])

    return read


_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


def _wait_s(text: str) -> float | None:
    """RFC 7240: a preference that cannot be read is ignored."""
    match = _WAIT.search(text)
    return None if match is None else min(float(match[1]), LONGEST_WAIT_S)


PREFER: Header[float | None] = Header(
    "Prefer", _wait_s, None, "`wait=N`: answer when the ledger has answered, or after N seconds (RFC 7240)."
)
IF_MATCH: Header[int | None] = Header(
    "If-Match", _version_of_etag("If-Match"), None, "The ETag of a balance: the same as expected_version."
)
IF_NONE_MATCH: Header[str | None] = Header(
    "If-None-Match", _text, None, "The ETag of a balance: 304 while it is current."
)


def expected_version(call: Call[Any], in_body: int | None) -> int | None:
    """The version that a payment is based on: from the body, or from If-Match with a balance's ETag."""
    header = call[IF_MATCH]
    if header is not None and in_body is not None and in_body != header:
        raise malformed("If-Match and expected_version differ.", field="expected_version")
    return in_body if header is None else header


def none_match(call: Call[Any], etag: str) -> bool:
    """Whether If-None-Match names this ETag, so that the caller has what would be answered."""
    text = call[IF_NONE_MATCH]
    if text is None:
        return False
    return text.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in text.split(","))
