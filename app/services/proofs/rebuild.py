"""Rebuilding one account in the cache from the ledger, under load: by a repair, or by a run that finds it behind.

An account goes from wrong to right in one script call, and what is reserved meanwhile is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.payment import OutboxPosition, parse_payment_id

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.reconciliation import LedgerReconciliation


PASSES = 1_000
"""A payment between the look at an account and its assignment asks for another pass; a pass takes milliseconds."""


class CacheRebuild:
    """Rebuilds accounts in the cache."""

    def __init__(self, cache: Cache, ledger: LedgerReconciliation) -> None:
        self._cache = cache
        self._ledger = ledger

    def rebuild(self, account_id: str, unheld: Sequence[str] = ()) -> None:
        """Rebuild an account; `unheld` are payment ids of waiting intents whose hold is wrong.

        The look comes before the reading: the ledger can tell what the cache has heard of by then.
        """
        partition = self._cache.partition_of(account_id)
        for _ in range(PASSES):
            seen = next(iter(self._cache.inspection.inspect(partition, [account_id])), None)
            concluding = self._cache.outbox.concluding(partition)
            directory_version, rows, authorizations = self._ledger.balances_for_hydration([account_id])
            if account_id not in rows:
                self._cache.accounts.forget(account_id)
                return
            open_holds = {
                stream_id: amount
                for stream_id, amount in authorizations.get(account_id, {}).items()
                if OutboxPosition(partition, stream_id).payment_id not in concluding
            }
            intents = self._intended(unheld, concluding)
            if self._cache.accounts.rebuild(seen, rows[account_id], directory_version, open_holds, intents):
                return
        raise ConcurrencyRetryExhausted(f"account {account_id} keeps changing; nothing was done to it")

    def _intended(self, payment_ids: Sequence[str], concluding: set[str]) -> Mapping[str, int]:
        """What these payments hold while they wait; what was concluded meanwhile holds nothing."""
        outbox_positions = [
            outbox_position
            for one in payment_ids
            if one not in concluding and (outbox_position := parse_payment_id(one))
        ]
        waiting = [
            queued for outbox_position in outbox_positions if (queued := self._cache.outbox.pending(outbox_position))
        ]
        return {queued.outbox_position.stream_id: queued.intent.hold_minor for queued in waiting}
