"""Assets: the currencies of ISO 4217, and other assets that are registered, in which accounts may be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.domain.account_refusals import asset_code_in_use, asset_exists
from app.domain.money import Asset, refuse_registration
from app.domain.refusals import Refusal

if TYPE_CHECKING:
    from app.ledger.assets import LedgerAssets


class Assets:
    """Currencies of ISO 4217 and registered assets. `iso` maps every code of the standard to its currency, or None.

    What the ledger keeps wins over the standard: a currency keeps the minor units of its first account, and a
    registered asset those of its registration, whatever a later table of ISO 4217 makes of the code.
    """

    def __init__(self, register: LedgerAssets, iso: Mapping[str, Asset | None]) -> None:
        self._register = register
        self._iso = iso

    def get(self, currency_code: str) -> Asset | None:
        """One asset; None if the code is unknown, or has no minor units in ISO 4217."""
        return self._register.get(currency_code) or self._iso.get(currency_code)

    def register(self, wanted: Asset, actor: str) -> tuple[Asset, bool] | Refusal:
        """Register an asset; returns it and whether it is new. A repeat with another content is refused."""
        known = self._register.get(wanted.currency_code)
        if known is not None and known.is_iso:
            return asset_code_in_use(known.currency_code, known.minor_units)
        refusal = refuse_registration(wanted, self._iso) if known is None else None
        if refusal is not None:
            return refusal
        asset, created = self._register.register(wanted, actor)
        for name in ("minor_units", "name"):
            if getattr(asset, name) != getattr(wanted, name):
                return asset_exists(asset.currency_code, name, asset.minor_units)
        return asset, created

    def page(self, *, limit: int, after: str | None) -> list[Asset]:
        """Up to `limit` registered assets by code, after code `after`."""
        return self._register.page(limit=limit, after=after)
