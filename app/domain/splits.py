"""Splits: one debit, several credits, exact to the minor unit.

Rounding is by largest remainder: each part is rounded down, and the units left over go one each to the parts that
lost most, earlier ones first. The sum is exact, and no part is off by a whole unit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from app.domain.refusals import Refusal, RefusalCode

MOST_DESTINATIONS = 100
_PLACES = 6
_SCALE = 10**_PLACES
"""Shares have at most six decimal places."""
_SHARE = re.compile(r"(?:0|1)(?:\.\d{1,6})?", re.ASCII)


@dataclass(slots=True)
class Destination:
    """One credit of a split: exactly one of a fixed amount (minor units), a share of the whole, or the remainder."""

    account_id: str
    amount_minor: int | None = None
    share: str | None = None
    remainder: bool = False


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to `weights` (not all zero) by largest remainder; the parts sum to `total`."""
    return _round([total * weight for weight in weights], sum(weights))


def _round(numerators: Sequence[int], denominator: int) -> list[int]:
    """Round fractions of one denominator by largest remainder; the parts sum to the whole units of their sum."""
    parts = [numerator // denominator for numerator in numerators]
    by_loss = sorted(range(len(parts)), key=lambda n: (-(numerators[n] % denominator), n))
    for n in by_loss[: sum(numerators) // denominator - sum(parts)]:
        parts[n] += 1
    return parts


def resolve_split(destinations: Sequence[Destination], total: int) -> list[int] | Refusal:
    """The amount of each destination in minor units, zero included; they sum to `total`."""
    refusal = _refuse_shape(destinations)
    if refusal is not None:
        return refusal
    shares = [Fraction(one.share) if one.share is not None else Fraction(0) for one in destinations]
    fixed = sum(one.amount_minor or 0 for one in destinations)
    shared = sum(shares, Fraction(0)) * total
    rest = total - fixed - shared
    has_remainder = any(one.remainder for one in destinations)
    if rest < 0 or (rest != 0 and not has_remainder):
        return Refusal(
            RefusalCode.SPLITS_DO_NOT_ADD_UP,
            f"The destinations come to {exact_decimal(total - rest)} of {total}; they must come to the whole amount, "
            "or one of them must take the remainder.",
            {"amount_minor": total, "fixed_minor": fixed, "shares": exact_decimal(sum(shares, Fraction(0)))},
        )
    parts = _share_parts(shares, total)
    for n, one in enumerate(destinations):
        if one.amount_minor is not None:
            parts[n] = one.amount_minor
    if has_remainder:
        parts[next(n for n, one in enumerate(destinations) if one.remainder)] = total - sum(parts)
    return parts


def _share_parts(shares: Sequence[Fraction], total: int) -> list[int]:
    return _round([int(share * _SCALE) * total for share in shares], _SCALE)


def exact_decimal(value: Fraction) -> str:
    """A sum of shares, or what they come to, as a decimal with nothing rounded away."""
    whole, rest = divmod(abs(int(value * _SCALE)), _SCALE)
    decimals = f".{rest:0{_PLACES}}".rstrip("0").rstrip(".")
    return f"{'-' if value < 0 else ''}{whole}{decimals}"


def _refuse_shape(destinations: Sequence[Destination]) -> Refusal | None:
    if not 1 <= len(destinations) <= MOST_DESTINATIONS:
        return _refuse(f"A payment has 1 to {MOST_DESTINATIONS} destinations, not {len(destinations)}.")
    if len({one.account_id for one in destinations}) != len(destinations):
        return _refuse("A destination stands twice; add its parts together.")
    if sum(one.remainder for one in destinations) > 1:
        return _refuse("Only one destination can take the remainder.")
    for one in destinations:
        given = (one.amount_minor is not None) + (one.share is not None) + one.remainder
        if given != 1:
            return _refuse(f"Destination {one.account_id!r} needs exactly one of amount_minor, share, remainder.")
        if one.share is not None and (not _SHARE.fullmatch(one.share) or not 0 < Fraction(one.share) <= 1):
            return _refuse(f"share {one.share!r} is not a decimal above 0 and up to 1 with at most six places.")
        if one.amount_minor is not None and one.amount_minor <= 0:
            return Refusal(
                RefusalCode.AMOUNT_NOT_POSITIVE,
                f"The amount of destination {one.account_id!r} must be greater than zero.",
                {"account_id": one.account_id, "amount_minor": one.amount_minor},
            )
    return None


def _refuse(detail: str) -> Refusal:
    return Refusal(RefusalCode.SPLITS_DO_NOT_ADD_UP, detail, {"field": "destinations"})
