"""Revocations of API keys, spread by the cache: every process that listens learns of one at once.

A message reaches only who listens when it is sent. So the ids are kept in a set too, for as long as a process may trust
a key without asking the ledger, and whoever begins to listen reads it.
"""

from typing import Any

from app.cache import keys
from app.cache.client import CacheClient

KEPT_S = 3600
"""Far longer than any process trusts a key that the ledger has not confirmed."""


class Revocations:
    """The API keys that were revoked lately."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def spread(self, key_id: str) -> None:
        """Tell every process that a key is revoked; the ledger has it already."""
        commands = [
            ("SADD", keys.REVOKED, key_id),
            ("EXPIRE", keys.REVOKED, KEPT_S),
            ("PUBLISH", keys.REVOKED_CHANNEL, key_id),
        ]
        self._client.run([], after=commands)

    def recent(self) -> set[str]:
        """The keys revoked within KEPT_S, and perhaps some before."""
        with self._client.translated():
            found: Any = self._client.redis.smembers(keys.REVOKED)
        return set(found)
