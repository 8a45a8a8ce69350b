"""The system at work: payments over time, how long posting takes, what waits.

What is known of past moments is kept in memory, because it no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.domain.errors import Fault

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.activity import LedgerActivity

SETTLED_AFTER = timedelta(minutes=1)
"""Positions of moments that are older no longer change: what was posted by then has committed long ago."""

MINUTES = 60
DAYS = 30
REMEMBERED = 500
"""Moments kept in memory: those of the charts several times over."""


@dataclass(slots=True, frozen=True)
class Piece:
    """What was posted from one moment to the next; seconds to posted are None where nothing was."""

    begins_at: datetime
    ends_at: datetime
    payments: int
    median_s: float | None = None
    high_s: float | None = None

    @property
    def per_second(self) -> float:
        """Payments a second, on average."""
        return self.payments / max((self.ends_at - self.begins_at).total_seconds(), 1e-3)


@dataclass(slots=True, frozen=True)
class Waiting:
    """What waits to be posted."""

    intents: int
    oldest_s: float


class Activity:
    """What was posted, by minutes and by days."""

    def __init__(self, ledger: LedgerActivity, cache: Cache, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._cache = cache
        self._now = now
        self._positions: dict[datetime, tuple[int, ...]] = {}
        self._delays: dict[datetime, tuple[float, float] | None] = {}

    def last_hour(self) -> list[Piece]:
        """Minute by minute; the last piece is what there is of the present minute."""
        now = self._now()
        minute = now.replace(second=0, microsecond=0)
        moments = [minute - timedelta(minutes=back) for back in range(MINUTES, -1, -1)] + [now]
        pieces = self._pieces(moments)
        delays = self._delays_of(moments)
        return [
            Piece(one.begins_at, one.ends_at, one.payments, *(delay or (None, None)))
            for one, delay in zip(pieces, delays, strict=True)
        ]

    def last_days(self) -> list[Piece]:
        """Day by day in UTC; the last piece is today so far."""
        now = self._now()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return self._pieces([day - timedelta(days=back) for back in range(DAYS - 1, -1, -1)] + [now])

    def posted_since(self, moment: datetime) -> int:
        """How many transactions were posted since a moment."""
        [piece] = self._pieces([moment, self._now()])
        return piece.payments

    def total(self) -> tuple[int, ...]:
        """How many transactions each chain has."""
        [position] = self._ledger.positions([self._now()])
        return position

    def held(self) -> dict[str, int]:
        """What open authorizations hold, in minor units by currency."""
        return self._ledger.held()

    def waiting(self) -> Waiting | None:
        """What waits to be posted; None if the cache does not answer."""
        try:
            intents = sum(self._cache.outbox.backlog().values())
            oldest = [int(stream_id.partition("-")[0]) for stream_id in self._cache.outbox.oldest().values()]
        except Fault:
            return None
        now_ms = self._now().timestamp() * 1000
        return Waiting(intents, max([0.0, *((now_ms - one) / 1000 for one in oldest)]))

    def _pieces(self, moments: Sequence[datetime]) -> list[Piece]:
        positions = self.positions(moments)
        return [
            Piece(begins_at, ends_at, max(0, sum(high) - sum(low)))
            for begins_at, ends_at, low, high in zip(moments, moments[1:], positions, positions[1:], strict=False)
        ]

    def positions(self, moments: Sequence[datetime]) -> list[tuple[int, ...]]:
        """For each moment, how many transactions each chain had before it."""
        unknown = [moment for moment in dict.fromkeys(moments) if moment not in self._positions]
        found = dict(zip(unknown, self._ledger.positions(unknown), strict=True)) if unknown else {}
        result = [found[moment] if moment in found else self._positions[moment] for moment in moments]
        settled = {moment: one for moment, one in found.items() if moment < self._now() - SETTLED_AFTER}
        remembered = self._positions if len(self._positions) < REMEMBERED else {}
        self._positions = remembered | settled
        return result

    def _delays_of(self, moments: Sequence[datetime]) -> list[tuple[float, float] | None]:
        positions = self.positions(moments)
        pieces = list(zip(moments, positions, positions[1:], strict=False))
        unknown = [(moment, (low, high)) for moment, low, high in pieces if moment not in self._delays]
        found = self._ledger.delays([span for _, span in unknown])
        delays = {moment: found.get(number) for number, (moment, _) in enumerate(unknown)}
        result = [delays[moment] if moment in delays else self._delays[moment] for moment, *_ in pieces]
        until = self._now() - SETTLED_AFTER - timedelta(minutes=1)
        remembered_delays = self._delays if len(self._delays) < REMEMBERED else {}
        self._delays = remembered_delays | {moment: delay for moment, delay in delays.items() if moment < until}
        return result
