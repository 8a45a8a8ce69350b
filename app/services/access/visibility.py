"""What exists for a key that may act for some entities only.

Nothing of another entity does: it is answered as what does not exist, after the same work, so that neither the answer
nor the time it takes tells the one from the other. A key without bounds never comes here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.payment import parse_payment_id

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.visibility import LedgerVisibility

log = logging.getLogger(__name__)


class Visibility:
    """Says whether accounts, payments and journals belong to given entities."""

    def __init__(self, cache: Cache, ledger: LedgerVisibility) -> None:
        self._cache = cache
        self._ledger = ledger

    def has_account(self, account_id: str, entities: Collection[str]) -> bool:
        """Whether an account belongs to one of these entities."""
        return self._ledger.has_account(account_id, entities)

    def has_payment(self, payment_id: str, entities: Collection[str]) -> bool:
        """Whether a payment does; the outbox is read first and the ledger second, as it moves from there to here."""
        return self._has_pending(payment_id, entities) or self._ledger.has_payment(payment_id, entities)

    def has_journal(self, journal_id: str, entities: Collection[str]) -> bool:
        """Whether a journal or a reversal does."""
        return self._ledger.has_transaction(journal_id, entities)

    def _has_pending(self, payment_id: str, entities: Collection[str]) -> bool:
        outbox_position = parse_payment_id(payment_id)
        if outbox_position is None:
            return False
        try:
            queued = self._cache.outbox.pending(outbox_position)
        except (CacheUnavailable, OutcomeUnknown):
            log.warning("cache not reachable, looking for %s in the ledger only", payment_id)
            return False
        return queued is not None and queued.intent.entity_id in entities
