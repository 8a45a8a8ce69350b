"""The query parameters and headers of the API, each declared once: how it is read, its default, and its schema."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from app.api.fields import CODE_PATTERN, ID_SCHEMA, MOMENT_SCHEMA, NUMBER, number_of
from app.api.json_body import NO_NUL, malformed
from app.api.request_ids import HEADER
from app.api.request_refusals import invalid_cursor
from app.api.responses import Refused
from app.api.routes import AnswerHeader, Call, Header, Parameter
from app.domain.accounts import DEFAULT_ENTITY
from app.domain.payment_checks import refuse_decomposed, refuse_future, refuse_unreadable_id
from app.domain.read_models import AsOf, TimeBasis
from app.domain.refusals import RefusalCode
from app.domain.timestamps import parse_time

LONGEST_PAGE = 1_000
DEFAULT_PAGE = 100

LONGEST_WAIT_S = 30.0
"""No request waits longer; a longer wish is cut, and Preference-Applied says so."""


def any_text(text: str) -> str:
    """A text as it was sent."""
    return text


def _id(name: str) -> Callable[[str], str]:
    """An id. One in another normalization form may be that of an account from before it was refused."""

    def read(text: str) -> str:
        if refusal := refuse_unreadable_id(name, text):
            raise Refused(refusal)
        return text

    return read


def _currency_code(text: str) -> str:
    if not re.fullmatch(CODE_PATTERN, text):
        raise malformed("currency_code must be a code of ISO 4217 or one of your own.", field="currency_code")
    return text


def _page_limit(text: str) -> int:
    found = number_of(text, 4)
    if found is None or not 1 <= found <= LONGEST_PAGE:
        raise malformed(f"limit must be a number from 1 to {LONGEST_PAGE}.", field="limit")
    return found


def _after_number(text: str) -> int:
    found = number_of(text)
    if found is None:
        raise Refused(invalid_cursor("after", "be a cursor from `next`"))
    return found


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


def instant(name: str) -> Callable[[str], datetime]:
    """Reads a time in a URL."""

    def read(text: str) -> datetime:
        return _time(text, name, "; in a URL, a plus sign is %2B")

    return read


def in_utc(text: str | None, name: str) -> datetime | None:
    """A time of a body; one without an offset is refused, for nobody could say years later what it meant."""
    return None if text is None else _time(text, name)


def _time(text: str, name: str, hint: str = "") -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise malformed(f"{name} {error}{hint}.", field=name) from None


def within_calendar(moment: datetime | None, name: str) -> datetime | None:
    """A time after which others can still lie: reports look at what comes after it."""
    try:
        _ = moment and AsOf(moment, TimeBasis.EFFECTIVE).before
    except OverflowError:
        raise malformed(f"{name} lies at the end of the calendar.", field=name) from None
    return moment


def not_in_future(moment: datetime | None, name: str, now: datetime) -> datetime | None:
    """A time at which something has happened: one in the future is refused, beyond what clocks differ by."""
    if moment is not None and (refusal := refuse_future(name, moment, now)):
        raise Refused(refusal)
    return moment


LIMIT: Parameter[int] = Parameter(
    "limit",
    _page_limit,
    DEFAULT_PAGE,
    {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": DEFAULT_PAGE},
)
AFTER: Parameter[str | None] = Parameter(
    "after", any_text, None, {"type": "string", "pattern": NO_NUL}, "The cursor from `next`."
)
AFTER_NUMBER: Parameter[int] = Parameter(
    "after",
    _after_number,
    0,
    {"type": "string", "pattern": NUMBER},
    "The cursor from `next`.",
    refuses=(RefusalCode.INVALID_CURSOR,),
)
_OF_IDS = (RefusalCode.INVALID_ID,)
ENTITY: Parameter[str | None] = Parameter("entity_id", _id("entity_id"), None, ID_SCHEMA, refuses=_OF_IDS)
ACCOUNT: Parameter[str | None] = Parameter(
    "account_id", _id("account_id"), None, ID_SCHEMA, "What is about this account.", refuses=_OF_IDS
)
OF_ENTITY: Parameter[str] = Parameter(
    "entity_id",
    _id("entity_id"),
    DEFAULT_ENTITY,
    ID_SCHEMA,
    f"By default the entity of the key, if it may act for one only, else `{DEFAULT_ENTITY}`.",
    refuses=_OF_IDS,
)
CURRENCY: Parameter[str | None] = Parameter(
    "currency_code", _currency_code, None, {"type": "string", "pattern": CODE_PATTERN}
)
EXTERNAL_ID: Parameter[str | None] = Parameter(
    "external_id", _id("external_id"), None, ID_SCHEMA, required=True, refuses=_OF_IDS
)
DRY_RUN: Parameter[bool] = Parameter(
    "dry_run",
    _true_or_false("dry_run"),
    False,
    {"type": "boolean", "default": False},
    "`true`: the real checks and arithmetic, but nothing is written.",
)
AT: Parameter[datetime | None] = Parameter(
    "at", instant("at"), None, MOMENT_SCHEMA, "An instant (RFC 3339), in milliseconds."
)
AS_OF: Parameter[datetime | None] = Parameter(
    "as_of",
    instant("as_of"),
    None,
    MOMENT_SCHEMA,
    "An instant (RFC 3339), in milliseconds. Accounts without entries by then stand at zero.",
)
BY: Parameter[TimeBasis | None] = Parameter(
    "by",
    _time_basis,
    None,
    {"$ref": f"#/components/schemas/{TimeBasis.__name__}"},
    "Which times count at the instant: when entries take effect, as without it, or when they were posted. Only with an "
    "instant.",
)


def as_of(call: Call[Any], instant: Parameter[datetime | None]) -> AsOf | None:
    """The instant that a request asks about, by the times that `by` names; None where it asks about now."""
    moment = call[instant]
    basis = call[BY]
    if moment is None:
        if basis is not None:
            raise malformed(f"by says which times count at an instant; give {instant.name} too.", field=instant.name)
        return None
    within_calendar(moment, instant.name)
    return AsOf(moment, basis or TimeBasis.EFFECTIVE)


# Headers


ETAG_PATTERN = '^"([0-9]{1,18})"$'
_ETAG_SCHEMA = {"type": "string", "pattern": ETAG_PATTERN}


def _version_of_etag(name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        match = re.fullmatch(ETAG_PATTERN, text.strip())
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
    "If-Match",
    _version_of_etag("If-Match"),
    None,
    "The ETag of a balance: the same as expected_version, so not another.",
    _ETAG_SCHEMA,
)
IF_MATCH_ACCOUNT: Header[int | None] = Header(
    "If-Match",
    _version_of_etag("If-Match"),
    None,
    "The ETag of the account: 412 if it has been changed since.",
    _ETAG_SCHEMA,
)
IF_NONE_MATCH: Header[str | None] = Header(
    "If-None-Match", any_text, None, "The ETag of a balance: 304 while it is current."
)


def expected_version(call: Call[Any], in_body: int | None) -> int | None:
    """The version that a request is based on: from the body, or from If-Match with the ETag of what it changes."""
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


def refuse_decomposed_parameters(call: Call[Any], *ids: Parameter[Any]) -> None:
    """Refuse ids among the query parameters under which nothing was found, if that may be for their Unicode form."""
    for one in ids:
        if refusal := refuse_decomposed(one.name, call[one] or ""):
            raise Refused(refusal)


# Headers of answers

LOCATION = AnswerHeader(
    "Location", "Where it can be read; none in a dry run.", {"type": "string", "format": "uri-reference"}
)
ETAG = AnswerHeader("ETag", "The version of what is answered, for If-Match and If-None-Match.")
IDEMPOTENT_REPLAYED = AnswerHeader(
    "Idempotent-Replayed",
    "`true`: the recorded answer to an earlier request with the same external_id.",
    {"type": "string", "enum": ["true"]},
)
PREFERENCE_APPLIED = AnswerHeader("Preference-Applied", "`wait=N`: how long the answer could wait, in seconds.")
RETRY_AFTER = AnswerHeader("Retry-After", "Seconds until a retry makes sense.", {"type": "integer", "minimum": 0})
WWW_AUTHENTICATE = AnswerHeader("WWW-Authenticate", "How to send an API key.")
ALLOW = AnswerHeader("Allow", "The methods of the path.")
RATE_LIMIT_POLICY = AnswerHeader(
    "RateLimit-Policy", "Of a key with a rate limit: `q` requests in a window of `w` seconds."
)
RATE_LIMIT = AnswerHeader(
    "RateLimit", "Of a key with a rate limit: `r` requests are left; after `t` seconds all are free again."
)
CACHE_CONTROL = AnswerHeader("Cache-Control", "`no-store`: the answer holds a secret.")

REQUEST_ID = AnswerHeader(
    HEADER,
    f"The id of the call, in the log and on record: the {HEADER} of the request where that has 1 to 128 letters, "
    "digits, dots, hyphens or underscores, else a new one.",
)

ANSWER_HEADERS = (
    REQUEST_ID,
    LOCATION,
    ETAG,
    IDEMPOTENT_REPLAYED,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    ALLOW,
    RATE_LIMIT_POLICY,
    RATE_LIMIT,
    CACHE_CONTROL,
)
