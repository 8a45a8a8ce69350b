"""Counts for the metrics of the audit, of all processes together: each of them knows only its own."""

from typing import Any

from app.cache import keys
from app.cache.client import CacheClient, Command

HOME = 0
"""The partition whose tag the counts carry."""


class AuditTallies:
    """How many calls have no record of their own since the cache was empty."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def add(self, counted: int, lost: int) -> None:
        """Add calls that were only counted, and calls that are lost."""
        key = keys.audit_tally(HOME)
        commands: list[Command] = [("HINCRBY", key, "counted", counted), ("HINCRBY", key, "lost", lost)]
        self._client.run([], after=commands)

    def read(self) -> tuple[int, int]:
        """How many calls were only counted, and how many are lost."""
        with self._client.translated():
            found: Any = self._client.redis.hmget(keys.audit_tally(HOME), "counted", "lost")
        counted, lost = found
        return int(counted or 0), int(lost or 0)
