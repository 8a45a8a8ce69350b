"""Draining: from the outbox into the books, and what the books say back into the cache.

Load, plan, write, settle. Everything may be repeated at any point: what is posted already is only settled again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.domain.straight_through import Memory
from app.services.careful import CarefulPosting
from app.services.contention import Contention
from app.services.drain_report import DrainReport
from app.services.intake import Batch, Intake
from app.services.ports.books import DrainBooks
from app.services.ports.funds import DrainFunds
from app.services.settler import Settler
from app.services.straight_through import Prepared, StraightThrough

BATCH_LIMIT = 2_000
"""Payments in one transaction: most of what group commit gives, and still well below a tenth of a second."""


class Drain:
    """Drains the outbox. One instance a worker; advisory locks keep two from the same partition."""

    def __init__(
        self,
        funds: DrainFunds,
        books: DrainBooks,
        contention: Contention,
        *,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        batch_limit: int = BATCH_LIMIT,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.funds = funds
        self._books = books
        self._memory = Memory()
        self._intake = Intake(funds, contention, batch_limit, now_ms)
        self._settler = Settler(funds)
        self._straight = StraightThrough(funds, books, contention, self._memory)
        self._careful = CarefulPosting(
            funds, books, contention, self._settler, self._intake, self._memory, sleep=sleep, jitter=jitter
        )
        self._ahead: Prepared | None = None
        """The next round, if the last one was full: it is being written already."""

    @contextmanager
    def turn(self) -> Iterator[list[int]]:
        """Keep other drains away, for as many rounds as are made; yields the partitions that nobody else is draining.

        Nobody else reads meanwhile what is in the books and not yet trimmed.
        """
        with self._draining(range(self.funds.partitions)) as partitions:
            yield partitions

    def round(self, partitions: Sequence[int]) -> DrainReport:
        """Post and settle one batch from partitions that this drain keeps others away from.

        Where the batch is full, the books write it while the next one is planned, and the cache settles it while the
        books write the next one.
        """
        return self._round(partitions, go_ahead=True)

    def run_once(self) -> DrainReport:
        """Take a turn of one round, if there are intents at all."""
        backlogged = [partition for partition, length in self.funds.backlog().items() if length]
        if not backlogged:
            return DrainReport()
        with self._draining(backlogged) as partitions:
            return self._round(partitions, go_ahead=False) if partitions else DrainReport()

    @contextmanager
    def _draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        self._memory.forget_if_large()
        with self._books.draining(partitions) as held:
            try:
                yield held
                self._finish()
            finally:
                self._ahead = None
                self._straight.wait()
                self._settler.finish()

    def _finish(self) -> None:
        """Bring the round that was begun ahead to its end."""
        if self._ahead is not None and self._straight.complete(self._ahead):
            self._settler.settle(self._ahead.settlements, beside=False)

    def _round(self, partitions: Sequence[int], *, go_ahead: bool) -> DrainReport:
        current, self._ahead = self._ahead, None
        if current is None:
            self._straight.wait()  # where a settle failed, more may have been begun
            batch = self._intake.read(partitions, self._settler.posted_up_to)
            current = self._straight.prepare(batch)
            if current is None:
                return self._post_carefully(partitions, batch)
        is_followed = self._intake.is_followed(current.batch)
        following = self._go_ahead(partitions, current) if go_ahead and is_followed else None
        if not self._straight.complete(current):
            return self._post_carefully(partitions)
        if following is not None:
            self._straight.start(following)
        self._settler.settle(current.settlements, beside=is_followed)
        self._ahead = following
        batch = current.batch
        return DrainReport(posted=len(batch.queued), deferred=len(batch.deferred), awaited=batch.awaited())

    def _go_ahead(self, partitions: Sequence[int], current: Prepared) -> Prepared | None:
        """Prepare the next batch while the books write this one."""
        if current.written is None:
            self._straight.start(current)
        taken = {**self._settler.posted_up_to, **current.batch.last_positions()}
        return self._straight.prepare(self._intake.read_behind(current.batch, partitions, taken))

    def _post_carefully(self, partitions: Sequence[int], batch: Batch | None = None) -> DrainReport:
        """Post with care what stands behind the posted; the batch that was read already, for the first try."""
        unread = [batch] if batch is not None else []
        return self._careful.post(
            lambda: unread.pop() if unread else self._intake.read(partitions, self._settler.posted_up_to)
        )
