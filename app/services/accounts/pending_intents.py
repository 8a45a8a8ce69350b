"""Pending intents of one account: how many there are in the outboxes, and waiting until there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.cache.cache import Cache


PATIENCE_S = 5.0
"""How long a change waits for the account's pending intents to be posted: milliseconds while a drain runs."""

POLL_S = 0.01
"""The pause between two looks: about one round of a drain."""


class PendingIntents:
    """Looks through all outboxes for intents that touch an account."""

    def __init__(self, cache: Cache, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._cache = cache
        self._monotonic = monotonic
        self._sleep = sleep

    def wait_until_none(self, account_id: str) -> bool:
        """Wait until no intent in any outbox touches the account; returns False if PATIENCE_S passes first."""
        give_up = self._monotonic() + PATIENCE_S
        while self.count(account_id):
            if self._monotonic() >= give_up:
                return False
            self._sleep(POLL_S)
        return True

    def count(self, account_id: str) -> int:
        """How many pending intents touch the account."""
        return sum(self._count_in(partition, account_id) for partition in range(self._cache.partitions))

    def _count_in(self, partition: int, account_id: str) -> int:
        return sum(
            account_id in {queued.intent.guarded_account_id, *(leg.account_id for leg in queued.intent.legs)}
            for page in self._cache.outbox.pages(partition)
            for queued in page
        )
