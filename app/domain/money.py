"""Amounts: integers in minor units, and the currencies and assets that they count."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.account_refusals import asset_code_reserved
from app.domain.refusals import Refusal

MAX_MINOR = 2**53 - 1
"""The largest amount or balance, in minor units: Lua numbers and JSON clients are doubles, exact up to here."""


def in_range(amount_minor: int) -> bool:
    """Whether an amount or balance lies within the bounds, on either side of zero."""
    return -MAX_MINOR <= amount_minor <= MAX_MINOR


def as_money(amount_minor: int, minor_units: int) -> str:
    """Minor units as people write them, with a point."""
    whole, rest = divmod(abs(amount_minor), 10**minor_units)
    fraction = f".{rest:0{minor_units}}" if minor_units else ""
    return f"{'-' if amount_minor < 0 else ''}{whole:,}{fraction}"


MOST_MINOR_UNITS = 18
"""Decimal places: as many as the finest asset in common use has, and an int64 can count."""


@dataclass(slots=True, frozen=True)
class Asset:
    """Something that accounts are kept in. `minor_units` is the number of decimal places of one unit.

    A currency of ISO 4217 was registered by nobody and has no time.
    """

    currency_code: str
    minor_units: int
    name: str
    registered_by: str | None = None
    registered_at: datetime | None = None

    @property
    def is_iso(self) -> bool:
        """Whether it is a currency of ISO 4217."""
        return self.registered_by is None


def refuse_registration(wanted: Asset, reserved_codes: Mapping[str, Asset | None]) -> Refusal | None:
    """Refuse an asset that takes a code of ISO 4217."""
    return asset_code_reserved(wanted.currency_code) if wanted.currency_code in reserved_codes else None
