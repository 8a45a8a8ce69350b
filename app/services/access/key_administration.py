"""Administering API keys: making, listing, revoking and rotating them, for the command line and for admin keys.

Who asks is an actor, whose connection has the owner's rights; or an API key with the scope `admin`, or a person with
the role `admin`, whom the ledger itself checks by a secret. An admin key of some entities sees and administers those
keys only that reach none beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from app.domain.access_refusals import (
    entity_out_of_reach,
    key_not_found,
    key_not_rotatable,
    no_administrating_person,
    no_administrator,
)
from app.domain.api_keys import KeyOutcome, NewKey, PresentedPerson
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.refusals import Refusal
from app.services.access.api_keys import new_secret

if TYPE_CHECKING:
    from app.cache.notifications import Revocations
    from app.ledger.api_keys import By, LedgerApiKeys, StoredKey

log = logging.getLogger(__name__)

DEFAULT_OVERLAP_H = 24
"""How long a rotated key stays valid: enough for a deployment, and short enough for a key that others may know."""

LONGEST_OVERLAP_H = 30 * 24


@dataclass(slots=True, frozen=True)
class IssuedKey:
    """A new key. `key` is its only copy: the ledger keeps a hash of its secret."""

    key: str = field(repr=False)
    stored: StoredKey


class KeyAdministration:
    """Makes, lists, revokes and rotates keys."""

    def __init__(
        self,
        ledger: LedgerApiKeys,
        revocations: Revocations,
        revoke_here: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        """`revoke_here` has this process trust keys no more; the `revocations` tell every process."""
        self._ledger = ledger
        self._revocations = revocations
        self._revoke_here = revoke_here

    def page(self, *, limit: int, after: str | None, entities: Collection[str] | None) -> list[StoredKey]:
        """Up to `limit` keys by id, after key `after`; with `entities` those that reach none beside them."""
        return self._ledger.page(limit=limit, after=after, entities=entities)

    def get(self, key_id: str, entities: Collection[str] | None) -> StoredKey | Refusal:
        """One key; none if it does not exist or the caller may not see it."""
        stored = self._ledger.get(key_id)
        is_there = stored is not None and (entities is None or (stored.entities or {""}) <= set(entities))
        return stored if stored is not None and is_there else key_not_found(key_id)

    def create(self, new: NewKey, by: By) -> IssuedKey | Refusal:
        """Make a key."""
        key_id, key, secret_hash = new_secret()
        outcome = self._ledger.add(key_id, secret_hash, new, by)
        if outcome is KeyOutcome.BEYOND_ENTITIES:
            return entity_out_of_reach(new.entities)
        return self._issued(key_id, key) if outcome is KeyOutcome.MADE else _no_administrator(by)

    def revoke(self, key_id: str, by: By) -> StoredKey | Refusal:
        """End a key, in every process within a second; a repeat answers the same."""
        outcome = self._ledger.revoke(key_id, by)
        if outcome in (KeyOutcome.REVOKED, KeyOutcome.ENDED):
            self.spread(key_id)
            return self._stored(key_id)
        return key_not_found(key_id) if outcome is KeyOutcome.UNKNOWN else _no_administrator(by)

    def rotate(self, key_id: str, overlap: timedelta, by: By) -> IssuedKey | Refusal:
        """Make a successor with the same rights; the key itself stays valid for `overlap`, or ends at once without."""
        new_id, key, secret_hash = new_secret()
        outcome = self._ledger.rotate(key_id, new_id, secret_hash, overlap, by)
        if outcome is KeyOutcome.ROTATED:
            if not overlap:
                self.spread(key_id)
            return self._issued(new_id, key)
        if outcome in (KeyOutcome.ENDED, KeyOutcome.ROTATED_BEFORE):
            return key_not_rotatable(key_id, has_successor=outcome is KeyOutcome.ROTATED_BEFORE)
        return key_not_found(key_id) if outcome is KeyOutcome.UNKNOWN else _no_administrator(by)

    def spread(self, key_id: str) -> bool:
        """Tell every process that a key has ended; returns whether the cache took the message.

        If not, each process learns it when it asks the ledger again, within seconds.
        """
        self._revoke_here([key_id])
        try:
            self._revocations.spread(key_id)
        except (CacheUnavailable, OutcomeUnknown) as fault:
            log.warning("the end of key %s could not be spread by the cache: %s", key_id, fault)
            return False
        return True

    def _issued(self, key_id: str, key: str) -> IssuedKey:
        return IssuedKey(key, self._stored(key_id))

    def _stored(self, key_id: str) -> StoredKey:
        stored = self._ledger.get(key_id)
        assert stored is not None
        return stored


def _no_administrator(by: By) -> Refusal:
    return no_administrating_person() if isinstance(by, PresentedPerson) else no_administrator()
