"""Times: aware datetimes in UTC, and their forms in the cache, the hash chain and the API."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLOCK_BOUND_S = 30.0
"""How far the clocks of two machines may differ. Synchronized clocks differ by milliseconds; half a minute already
moves payments across midnight, and ends authorizations that have hardly begun."""

AHEAD_MS = 1_000
"""By how much a stream id may lie ahead of the clock and still be a time: clocks differ, and posting is quick."""

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]((?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII | re.IGNORECASE,
)


def parse_time(text: str) -> datetime:
    """A time as in RFC 3339, in UTC; digits beyond the microsecond are cut, for rounding up could name the next day.

    The message of the ValueError completes a sentence that begins with the name of the field.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time as in RFC 3339, e.g. 2026-01-31T09:30:00Z")
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]}{(offset or '').upper()}")
    except ValueError as error:
        raise ValueError(f"is not a time: {error}") from None
    if offset is None:
        raise ValueError("needs an offset, e.g. 2026-01-31T09:30:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside of the years 1 to 9999") from None


def from_milliseconds(milliseconds: int) -> datetime:
    """The time at a count of milliseconds since 1970 UTC, exact."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def from_microseconds(microseconds: int) -> datetime:
    """The time at a count of microseconds since 1970 UTC, exact."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 UTC, rounded down."""
    return to_microseconds(moment) // 1_000


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC, the precision of Postgres."""
    elapsed = moment - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def cut_to_milliseconds(moment: datetime) -> datetime:
    """The same time without what the API's text form does not show."""
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def credible_milliseconds(stamped_ms: int, now_ms: int) -> int:
    """A time taken from a stream id; `now_ms` if that lies in the future.

    Stream ids never go back. After the cache's clock was ahead once they stay ahead of it, and only order intents.
    """
    return stamped_ms if stamped_ms <= now_ms + AHEAD_MS else now_ms


def rfc3339(moment: datetime) -> str:
    """The text form of the API: UTC with milliseconds, e.g. `2026-01-31T09:30:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=256)
def rfc3339_of_milliseconds(milliseconds: int) -> str:
    """The same text of a count of milliseconds since 1970 UTC. The payments of a batch share a few of them."""
    return rfc3339(from_milliseconds(milliseconds))
