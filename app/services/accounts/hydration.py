"""Reading balances from the cache, and hydrating cold accounts: loading them from the ledger into the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.accounts import AccountFacts
from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.reservations import CachedBalance
from app.services.accounts.directory import AccountDirectory
from app.services.payments.coalescing import CoalescedLookUp

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.accounts import LedgerAccounts


ATTEMPTS = 10
"""A settlement between reading the ledger and hydrating costs another attempt; ten in a row mean a fault."""


@dataclass(slots=True)
class AccountBalance:
    """An account's facts and its funds at this moment."""

    facts: AccountFacts
    cached: CachedBalance


class Balances:
    """Balances as the cache has them; a cold account is hydrated first."""

    def __init__(self, cache: Cache, ledger: LedgerAccounts, directory: AccountDirectory) -> None:
        self._cache = cache
        self._ledger = ledger
        self._directory = directory
        self.hydrations = CoalescedLookUp(self._hydrate)

    def get(self, account_id: str) -> AccountBalance | None:
        """The balance of an account; None if there is no such account."""
        facts = self._directory.snapshot().facts([account_id]).get(account_id)
        if facts is None:
            return None
        cached = self._cache.accounts.balance(account_id) or self.hydrate([account_id])[0]
        return AccountBalance(facts, cached)

    def hydrate(self, account_ids: Sequence[str]) -> list[CachedBalance]:
        """Load existing accounts into the cache, together with those that other threads ask for at the same time."""
        hydrated = self.hydrations.ask(account_ids)
        return [hydrated[account_id] for account_id in account_ids]

    def _hydrate(self, account_ids: Sequence[str]) -> dict[str, CachedBalance]:
        """Load accounts. The placeholders come first, so that no settlement is missed; `lua/hydrate.lua` says how."""
        self._cache.accounts.set_placeholders(account_ids)
        hydrated: dict[str, CachedBalance] = {}
        for _ in range(ATTEMPTS):
            behind = [account_id for account_id in account_ids if account_id not in hydrated]
            if not behind:
                return hydrated
            directory_version, rows, open_holds = self._ledger.balances_for_hydration(behind)
            replies = self._cache.accounts.hydrate(
                [rows[account_id] for account_id in behind], directory_version, open_holds
            )
            hydrated.update((key, reply) for key, reply in zip(behind, replies, strict=True) if reply is not None)
        raise ConcurrencyRetryExhausted("the ledger moves faster than the accounts can be read")
