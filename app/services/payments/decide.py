"""Deciding in the cache: one loop that retries while the cache is not ready.

A decision rests on account facts from this process's directory and on balances in the cache. A partition may ask for a
newer directory than the caller has, or be closed (both are stale), or the cache may not have an account (cold). An
attempt to decide then raises `NotReady`, and `Decider.decide` refreshes the directory, has the partition opened, or
hydrates the account, and runs the attempt again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, TypeVar

from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.refusals import Refusal, RefusalCode

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.services.accounts.directory import AccountDirectory, DirectorySnapshot
    from app.services.accounts.hydration import Balances
    from app.services.proofs.cache_identity import CacheIdentity


ATTEMPTS = 6
"""One attempt is enough; a cold account or a changed directory takes a second. More point to a fault."""

REVOCABLE = frozenset(
    {
        RefusalCode.ACCOUNT_PAUSED,
        RefusalCode.ACCOUNT_FROZEN,
        RefusalCode.TWO_GUARDED_ACCOUNTS,
        RefusalCode.BATCH_CROSSES_PARTITIONS,
        RefusalCode.SPLITS_DO_NOT_ADD_UP,
        RefusalCode.JOURNAL_UNBALANCED,
    }
)
"""Refusals that may no longer hold, or no longer come first, once an account has changed."""

ANY_PARTITION = 0
"""The directory version is pushed to all partitions together, so any of them can be asked for it."""

Decided = TypeVar("Decided")


class NotReady(Exception):
    """An attempt could not decide: partitions ask for a newer directory, or the cache does not have some accounts."""

    def __init__(self, *, stale_partitions: Collection[int] = (), cold_account_ids: Collection[str] = ()) -> None:
        super().__init__("the cache is not ready to decide")
        self.stale_partitions = stale_partitions
        self.cold_account_ids = cold_account_ids


class Decider:
    """Runs attempts to decide, and makes the cache ready between them."""

    def __init__(self, cache: Cache, identity: CacheIdentity, directory: AccountDirectory, balances: Balances) -> None:
        self._cache = cache
        self._identity = identity
        self._directory = directory
        self._balances = balances

    def decide(self, attempt: Callable[[DirectorySnapshot], Decided]) -> Decided:
        """What an attempt decides on the current directory; ConcurrencyRetryExhausted after ATTEMPTS attempts."""
        for _ in range(ATTEMPTS):
            try:
                return attempt(self._directory.snapshot())
            except NotReady as not_ready:
                self._make_ready(not_ready)
        raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was moved")

    def _make_ready(self, not_ready: NotReady) -> None:
        if not_ready.stale_partitions:
            self.refresh_directory(not_ready.stale_partitions)
        if not_ready.cold_account_ids:
            self._balances.hydrate(sorted(not_ready.cold_account_ids))

    def refresh_directory(self, partitions: Collection[int]) -> None:
        """Read the directory again, and make these partitions demand at least its version; open them if closed."""
        snapshot = self._directory.refresh()
        self._identity.open(partitions, snapshot.version)

    def require_current_facts(self, outcomes: Iterable[object], version: int) -> None:
        """Raise NotReady if a refusal among `outcomes` rests on facts of `version` that have changed since.

        The script detects old facts only in what it is sent. A payment that the facts refuse never gets there: without
        this check a process that only refuses would never learn that an account has been unfrozen.
        """
        if not any(isinstance(one, Refusal) and one.code in REVOCABLE for one in outcomes):
            return
        latest = self._cache.partition_states.directory_version(ANY_PARTITION)
        if latest is None or latest > version:
            raise NotReady(stale_partitions=(ANY_PARTITION,))
