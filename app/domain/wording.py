"""Counts in words, for people: one hour, two hours."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as `1 hour` and `1,200 hours`; without a `plural` it is the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
