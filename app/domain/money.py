"""Amounts: integers in minor units, bounded so that every party counts them exactly."""

MAX_MINOR = 2**53 - 1
"""The largest amount or balance, in minor units: Lua numbers and JSON clients are doubles, exact up to here."""


def in_range(amount_minor: int) -> bool:
    """Whether an amount or balance lies within the bounds, on either side of zero."""
    return -MAX_MINOR <= amount_minor <= MAX_MINOR
