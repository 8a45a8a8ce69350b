"""The system at work as operators see it: processes, partitions, outbox, lag, hot accounts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.domain.errors import Fault
from app.domain.heat import ConflictHour, Heat, HeatMap, heat_map

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.cache.notifications import Heartbeat
    from app.cache.server_states import CacheServer
    from app.ledger.operations import LedgerOperations, Sessions

HOURS = 24
MOST_COUNTED = HOURS * 201
"""What the ledger keeps for one day at most: 200 accounts an hour, and the others together."""


@dataclass(slots=True, frozen=True)
class PartitionState:
    """One partition: its chain in the ledger, and its outbox in the cache; None where the cache does not answer."""

    partition: int
    posted: int
    last_posted_at: datetime
    waiting: int | None
    oldest_s: float | None
    """How long its oldest intent has waited; None if none waits."""


@dataclass(slots=True, frozen=True)
class CacheState:
    """The cache and the drains, as far as they answer."""

    server: CacheServer
    drains: list[Heartbeat]
    backlog: dict[int, int]
    oldest_s: dict[int, float]
    audit_counted: int
    audit_lost: int


class Operations:
    """Reads how the processes and the servers are."""

    def __init__(self, ledger: LedgerOperations, cache: Cache, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._cache = cache
        self._now = now

    def cache(self) -> CacheState | None:
        """The cache and what lies in it; None if it does not answer."""
        try:
            server = self._cache.inspection.server()
            ages = {
                partition: max(0.0, (server.clock_ms - int(stream_id.partition("-")[0])) / 1000)
                for partition, stream_id in self._cache.outbox.oldest().items()
            }
            drains = self._cache.heartbeats.all()
            backlog = self._cache.outbox.backlog()
            counted, lost = self._cache.audit_tallies.read()
        except Fault:
            return None
        return CacheState(server, sorted(drains, key=lambda one: one.process), backlog, ages, counted, lost)

    def sessions(self) -> list[Sessions]:
        """The connections to the ledger by what they are for."""
        return self._ledger.sessions()

    def partitions(self, cache: CacheState | None) -> list[PartitionState]:
        """Every partition, and as the last one the chain of journals and refunds, which has no outbox."""
        return [
            PartitionState(
                one.partition,
                one.chain_seq,
                one.last_posted_at,
                None if cache is None else cache.backlog.get(one.partition),
                None if cache is None else cache.oldest_s.get(one.partition),
            )
            for one in self._ledger.chain_ends()
        ]

    def conflict_hours(
        self, from_time: datetime, to_time: datetime, *, limit: int, entities: Collection[str] | None
    ) -> list[ConflictHour]:
        """What was counted in the hours that begin in a time, the newest first; with `entities` of their accounts."""
        return self._ledger.conflict_hours(from_time, to_time, limit=limit, entities=entities)

    def heat(self, day: datetime, what: Heat, begins_with: str, most: int) -> HeatMap:
        """The hot accounts of a day in UTC, up to `most` of them; hours to come are left out."""
        now = self._now()
        hours = [hour for number in range(HOURS) if (hour := day + timedelta(hours=number)) <= max(now, day)]
        counted = self._ledger.conflict_hours(day, day + timedelta(days=1), begins_with=begins_with, limit=MOST_COUNTED)
        return heat_map(counted, what, hours, most)
