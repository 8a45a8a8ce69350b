"""Dates as banks write them. A bank's day stays the bank's day: no zone of the server or of the file moves it."""

import re
from datetime import date, datetime

_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:\d{2,6}(?:\.\d+)?)?(?:\s*\[[^\]]*\])?", re.ASCII)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:Z|[+-]\d\d:\d\d|[T ]\d\d:\d\d\S*)?", re.ASCII)

CENTURY_TURNS = 80
"""Two-digit years from here on are of the last century: electronic statements are not older."""


class InvalidDay(ValueError):
    """A text that names no day; the message completes the sentence "the date …"."""

    def __init__(self, text: str, why: str = "is no day") -> None:
        super().__init__(f"the date {text[:40]!r} {why}")


def compact_day(text: str) -> date:
    """The day of `20240323` or `20150706000000[-3:GMT]`, as OFX writes it; raises InvalidDay."""
    return _day_of(_COMPACT.fullmatch(text.strip()), text)


def iso_day(text: str) -> date:
    """The day of an ISO date or date-time, whatever its offset; raises InvalidDay."""
    return _day_of(_ISO.fullmatch(text.strip()), text)


def _day_of(match: re.Match[str] | None, text: str) -> date:
    if match is None:
        raise InvalidDay(text)
    return day(int(match[1]), int(match[2]), int(match[3]), text)


def day(year: int, month: int, number: int, text: str) -> date:
    """A day of the calendar; raises InvalidDay with the text that named it."""
    try:
        return date(year, month, number)
    except ValueError:
        raise InvalidDay(text, "is no day of the calendar") from None


def formatted_day(text: str, format: str) -> date:
    """A day in a form of strptime; raises InvalidDay."""
    if not text.isascii():
        raise InvalidDay(text)
    try:
        return datetime.strptime(text.strip(), format).date()  # noqa: DTZ007 - the bank's day has no zone
    except ValueError:
        raise InvalidDay(text, f"is not as the source says, {format}") from None


def full_year(two_digits: int) -> int:
    """The year of two digits."""
    return two_digits + (1900 if two_digits >= CENTURY_TURNS else 2000)


def nearest_day(month: int, number: int, near: date, text: str) -> date:
    """The day of a month that is nearest to another day, in its year or one beside it; raises InvalidDay."""
    found = []
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            found.append(date(year, month, number))
        except ValueError:
            continue
    if not found:
        raise InvalidDay(text, "is no day of the calendar")
    return min(found, key=lambda one: abs(one - near))
