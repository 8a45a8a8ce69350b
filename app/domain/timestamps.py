"""Times: aware datetimes in UTC, and their forms in the cache, the hash chain and the API."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def rfc3339(moment: datetime) -> str:
    """The text form of the API: UTC with milliseconds, e.g. `2026-01-31T09:30:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
