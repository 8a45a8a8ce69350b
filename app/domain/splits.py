"""Splits: one debit, several credits, exact to the minor unit.

Rounding is by largest remainder: each part is rounded down, and the units left over go one each to the parts that
lost most, earlier ones first. The parts sum to the total, and no part is off by a whole unit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from app.domain.payment_refusals import destination_amount_not_positive, invalid_split, splits_do_not_add_up
from app.domain.refusals import Refusal

MOST_DESTINATIONS = 100
_PLACES = 6
_SCALE = 10**_PLACES
"""Shares have at most six decimal places."""
SHARE_PATTERN = rf"^[01](?:\.[0-9]{{1,{_PLACES}}})?$"
_SHARE = re.compile(SHARE_PATTERN)


@dataclass(slots=True)
class Destination:
    """One credit of a split: exactly one of a fixed amount (minor units), a share of the whole, or the remainder."""

    account_id: str
    amount_minor: int | None = None
    share: str | None = None
    remainder: bool = False


def plain_share(share: str | None) -> str | None:
    """A share without zeros that mean nothing: 0.50 is 0.5."""
    return share if share is None or "." not in share else share.rstrip("0").rstrip(".")


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
    refusal = _check_each(destinations)
    if refusal is not None:
        return refusal
    shares = [Fraction(one.share) if one.share is not None else Fraction(0) for one in destinations]
    fixed = sum(one.amount_minor or 0 for one in destinations)
    shared = sum(shares, Fraction(0)) * total
    rest = total - fixed - shared
    has_remainder = any(one.remainder for one in destinations)
    if rest < 0 or (rest != 0 and not has_remainder):
        total_share = exact_decimal(sum(shares, Fraction(0)))
        return splits_do_not_add_up(total, exact_decimal(total - rest), fixed, total_share)
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


def _check_each(destinations: Sequence[Destination]) -> Refusal | None:
    """Refuse destinations that are wrong whatever the amount is."""
    if not 1 <= len(destinations) <= MOST_DESTINATIONS:
        return invalid_split(f"A payment has 1 to {MOST_DESTINATIONS} destinations, not {len(destinations)}.")
    if len({one.account_id for one in destinations}) != len(destinations):
        return invalid_split("A destination stands twice; add its parts together.")
    if sum(one.remainder for one in destinations) > 1:
        return invalid_split("Only one destination can take the remainder.")
    return next((refusal for one in destinations if (refusal := _check(one))), None)


def _check(destination: Destination) -> Refusal | None:
    account_id, amount_minor, share = destination.account_id, destination.amount_minor, destination.share
    if (amount_minor is not None) + (share is not None) + destination.remainder != 1:
        return invalid_split(f"Destination {account_id!r} needs exactly one of amount_minor, share, remainder.")
    if share is not None and (not _SHARE.fullmatch(share) or not 0 < Fraction(share) <= 1):
        return invalid_split(f"share {share!r} is not a decimal above 0 and up to 1 with at most six places.")
    if amount_minor is not None and amount_minor <= 0:
        return destination_amount_not_positive(account_id, amount_minor)
    return None
