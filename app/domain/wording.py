"""Figures in words, for people: counts, sizes, lengths of time and moments."""

from datetime import UTC, datetime

UNITS = ("KiB", "MiB", "GiB", "TiB")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as `1 hour` and `1,200 hours`; without a `plural` it is the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def sized(size_bytes: int) -> str:
    """A size, such as `512 bytes` and `8.8 MiB`: in powers of 1,024, for the limits of servers are round in those."""
    if size_bytes < 1024:
        return counted(size_bytes, "byte")
    power = 1
    while round(size_bytes / 1024**power, 1) >= 1024 and power < len(UNITS):
        power += 1
    return f"{size_bytes / 1024**power:,.1f}".removesuffix(".0") + f" {UNITS[power - 1]}"


def span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days"  # two at least


def clock_in_words(ahead_s: float) -> str:
    """How far a clock is from another, such as `12 ms ahead`; under half a millisecond it `agrees`."""
    if abs(ahead_s) < 0.0005:
        return "agrees"
    return f"{span(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}"


def moment_in_words(at: datetime) -> str:
    """A moment within a sentence, to the second: `2026-01-31 09:30:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
