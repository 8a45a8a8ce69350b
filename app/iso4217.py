"""The table of ISO 4217, as the library has it. Nothing else knows the library."""

from functools import cache

from iso4217 import Currency

from app.domain.currencies import Asset


@cache
def iso_currencies() -> dict[str, Asset | None]:
    """Every code of ISO 4217; None where the standard gives no minor units (metals, testing, units of account)."""
    return {
        one.code: None if one.exponent is None else Asset(one.code, one.exponent, one.currency_name) for one in Currency
    }
