"""How pages write figures and times, and read what people type: exact, with the currency's decimals, in UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation, Overflow

from flask import Flask
from markupsafe import Markup, escape

from app.dashboard.context import decimal_places
from app.domain.money import in_range
from app.domain.timestamps import rfc3339
from app.domain.wording import counted, sized, span

MINUS = "−"

LARGEST_DIGITS = 20
"""More than any amount has; what somebody types with an exponent is not written out."""


def money(minor: int | None, currency_code: str) -> str:
    """An amount with its currency's decimals; nothing for None, so that an empty side stays empty."""
    if minor is None:
        return ""
    places = decimal_places(currency_code)
    whole, fraction = divmod(abs(minor), 10**places)
    decimals = f".{fraction:0{places}d}" if places else ""
    return f"{MINUS if minor < 0 else ''}{whole:,}{decimals}"


def signed_money(minor: int, currency_code: str) -> str:
    """An amount that may go either way, with its sign."""
    return f"{'+' if minor > 0 else ''}{money(minor, currency_code)}"


def exact_money(minor: int | None, currency_code: str) -> Decimal | None:
    """An amount as other programs read it: a number with the currency's decimals."""
    return None if minor is None else Decimal(minor).scaleb(-decimal_places(currency_code))


def count(number: int) -> str:
    """A count with separators."""
    return f"{number:,}".replace("-", MINUS)


def _marked_time(at: datetime, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(rfc3339(at), text)


def moment(at: datetime, zone: str = " UTC") -> Markup:
    """A time to the millisecond. The zone is left out where the column's head has it."""
    return _marked_time(at, typed(at) + zone)


def clock(at: datetime, zone: str = " UTC") -> Markup:
    """A time of the day, to the millisecond."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")[11:23]
    return _marked_time(at, text + zone)


def near(at: datetime, now: datetime, zone: str = " UTC") -> Markup:
    """A time, with its day unless it is today's."""
    return clock(at, zone) if _is_today(at, now) else moment(at, zone)


def bound(at: datetime) -> Markup:
    """Where a period begins or ends, within a sentence: a day that is whole is its date, any other time is exact."""
    if at.astimezone(UTC).time() == time.min:
        text = f"{at.astimezone(UTC):%Y-%m-%d}"
    elif (at + timedelta(milliseconds=1)).astimezone(UTC).time() == time.min:
        text = f"the end of {at.astimezone(UTC):%Y-%m-%d}"
    else:
        return moment(at)
    return _marked_time(at, text)


def due(at: datetime, now: datetime, zone: str = " UTC") -> Markup:
    """When something is due: to the minute, and with its day unless it is today."""
    day = "" if _is_today(at, now) else "%Y-%m-%d "
    return _marked_time(at, f"{at.astimezone(UTC):{day}%H:%M}{zone}")


def _is_today(at: datetime, now: datetime) -> bool:
    return at.astimezone(UTC).date() == now.date()


def typed(at: datetime) -> str:
    """A time as people type it into a filter."""
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def long_date(at: datetime) -> str:
    """A day in words."""
    return f"{at:%A}, {at.day} {at:%B %Y}"


def short_date(at: datetime) -> str:
    """A day of this year."""
    return f"{at.day} {at:%b}"


def words(code: str) -> str:
    """A code as a person reads it."""
    return code.replace("_", " ")


def marked(text: str) -> Markup:
    """An id that may break over lines after its separators."""
    return Markup(re.sub(r"([:/_.-])", r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped here


_BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
"""Marks of browsers; those that call themselves by several names come before these names."""
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


def browser(client: str) -> str:
    """A browser in words, such as `Firefox on Linux`; as it calls itself if it is none of those that are known."""
    name = next((name for mark, name in _BROWSERS.items() if mark in client), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in client), None)
    return f"{name} on {system}" if name and system else client


def install(application: Flask) -> None:
    """Give the templates these forms."""
    figures = (money, signed_money, count, counted, sized)
    times = (moment, clock, near, bound, due, typed, long_date, short_date, span)
    for function in (*figures, *times, words, marked, browser):
        application.jinja_env.filters[function.__name__] = function


# Reading


def read_money(text: str, currency_code: str) -> int:
    """Minor units from what a person types, e.g. `1,234.50`; the message of the ValueError is for the person."""
    typed = text.replace(",", "").replace(" ", "").replace(MINUS, "-").removeprefix("+")
    places = decimal_places(currency_code)
    try:
        minor = Decimal(typed).scaleb(places)
    except Overflow:
        raise ValueError(f"{text!r} is larger than any amount can be.") from None
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount; type it as 1,234.56.") from None
    if not minor.is_finite():
        raise ValueError(f"{text!r} is not an amount; type it as 1,234.56.")
    if minor.adjusted() < LARGEST_DIGITS and minor != minor.to_integral_value():
        raise ValueError(f"{text!r} has more decimals than {currency_code}, which has {places}.")
    if minor.adjusted() >= LARGEST_DIGITS or not in_range(int(minor)):
        raise ValueError(f"{text!r} is larger than any amount can be.")
    return int(minor)


def read_day(text: str) -> date:
    """A day as banks book by, from ISO text."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a day, such as 2026-01-31.") from None


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))?(?:\s*(?:Z|UTC))?", re.ASCII)


def read_moment(text: str, *, is_end: bool = False) -> datetime:
    """A moment in UTC from ISO text: a day, or a day and a time. A day alone is its beginning or its end.

    The last day of the calendar is none: reports and searches look at what comes after a moment.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a day or a time in UTC, such as 2026-01-31 or 2026-01-31 09:30:00.")
    day, time = match.groups()
    try:
        at = datetime.fromisoformat(f"{day} {time or '00:00'}").replace(tzinfo=UTC)
        a_day_later = at + timedelta(days=1)
        return a_day_later - timedelta(milliseconds=1) if is_end and time is None else at
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a day of the calendar.") from None
