"""The drain: it reads batches of intents from the outbox, posts them to the ledger, and settles them in the cache.

An ordinary batch is posted optimistically (`OptimisticPosting`): planned on remembered rows, written, settled. Any
other batch is posted under row locks (`LockedPosting` in `app/services/posting/locked.py`).

Full batches overlap: while the ledger writes one, the drain plans the next, and the cache settles the one before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.errors import ConcurrencyConflict, LedgerConstraintViolated, RowsChanged
from app.domain.ledger_rows import PostingPlan, RememberedRows
from app.domain.posting_plan import is_ordinary, plan_optimistically
from app.domain.settlement import PartitionSettlement, settlements_of
from app.services.posting.contention import Contention
from app.services.posting.locked import LockedPosting, count_waits
from app.services.posting.outbox import Batch, DrainReport, OutboxReader, Settler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.optimistic_posting import PackedPlan
    from app.ledger.posting_session import PostingSession


log = logging.getLogger(__name__)

BATCH_LIMIT = 2_000
"""Payments in one transaction: enough for most of what group commit gains, in well below a tenth of a second."""


@dataclass(slots=True)
class PlannedBatch:
    """A batch, its plan, the plan as it is sent to the ledger, and what the cache is told afterwards.

    `writing` is set once the ledger has begun to write the batch.
    """

    batch: Batch
    plan: PostingPlan
    packed: PackedPlan
    settlements: Sequence[PartitionSettlement]
    writing: Future[None] | None = None


class OptimisticPosting:
    """Plans batches on remembered rows, each on what the one before leaves, and writes them one at a time, in order."""

    def __init__(self, cache: Cache, ledger: PostingSession, contention: Contention, memory: RememberedRows) -> None:
        self._cache = cache
        self._ledger = ledger
        self._contention = contention
        self._remembered = memory
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="post")
        self._writing: Future[None] | None = None

    def plan(self, batch: Batch) -> PlannedBatch | None:
        """Plan a batch on the rows that all earlier plans leave; None if it must be posted under row locks."""
        queued, memory = batch.queued, self._remembered
        if not queued or not is_ordinary(queued) or batch.claimed or not memory.knows_chains(queued):
            return None
        unknown = memory.unknown_accounts(queued)
        if unknown:
            self.wait()  # the writer uses the connection, and what it writes may change these rows
            memory.learn(self._ledger.balances(unknown), {})
        plan = plan_optimistically(queued, memory, self._ledger.now())
        if plan is None:
            return None
        memory.apply(plan)
        settlements = settlements_of(queued, plan, plan.balances, self._cache.partition_of, whole=batch.whole)
        return PlannedBatch(batch, plan, self._ledger.pack(plan), settlements)

    def begin_writing(self, planned: PlannedBatch) -> None:
        """Write a batch in the background. No other batch may be in the writer at this time."""
        planned.writing = self._writing = self._writer.submit(self._ledger.post, planned.packed)

    def finish_writing(self, planned: PlannedBatch) -> bool:
        """Write a batch, or wait until it is written; returns whether it is in the ledger now.

        If it is not, nothing is remembered any more, and plans that were made on it must not be written.
        """
        try:
            if planned.writing is None:
                self._ledger.post(planned.packed)
            else:
                planned.writing.result()
        except (RowsChanged, ConcurrencyConflict, LedgerConstraintViolated) as obstacle:
            self._give_up(planned.plan, obstacle)
            return False
        finally:
            self._writing = None
        self._contention.clear(planned.plan.balances)
        count_waits(self._contention, self._ledger)
        return True

    def wait(self) -> None:
        """Wait for the batch that is being written, whatever becomes of it."""
        if self._writing is not None:
            self._writing.exception()

    def _give_up(self, plan: PostingPlan, obstacle: Exception) -> None:
        self._remembered.forget()
        log.info("optimistic posting given up, posting under row locks: %s", obstacle)
        if isinstance(obstacle, ConcurrencyConflict):
            changed = self._changed_accounts(plan)
            if changed:
                self._contention.note_conflict(changed)
                self._ledger.conflicts.count(changed, retries=1, exhausted=0)

    def _changed_accounts(self, plan: PostingPlan) -> list[str]:
        """The accounts that somebody else has changed since they were remembered."""
        present = self._ledger.balances(plan.balances.keys())
        return sorted(row.account_id for row in plan.balances_before if present[row.account_id].version != row.version)


class Drain:
    """Drains the outbox. There is one in each worker; advisory locks keep two from the same partition."""

    def __init__(
        self,
        cache: Cache,
        ledger: PostingSession,
        contention: Contention,
        *,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        batch_limit: int = BATCH_LIMIT,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.cache = cache
        self._ledger = ledger
        self._remembered = RememberedRows()
        self._reader = OutboxReader(cache, contention, batch_limit, now_ms)
        self._settler = Settler(cache)
        self._optimistic = OptimisticPosting(cache, ledger, contention, self._remembered)
        self._locked = LockedPosting(
            cache, ledger, contention, self._reader, self._settler, self._remembered, sleep=sleep, jitter=jitter
        )
        self._next: PlannedBatch | None = None
        """The batch of the next round; the ledger is writing it already if the last one was full."""

    def run_once(self) -> DrainReport:
        """Take a turn of one round, if there are intents at all."""
        backlogged = [partition for partition, length in self.cache.outbox.backlog().items() if length]
        if not backlogged:
            return DrainReport()
        with self._draining(backlogged) as partitions:
            return self._post_one(partitions, look_ahead=False) if partitions else DrainReport()

    @contextmanager
    def turn(self) -> Iterator[list[int]]:
        """Keep other drains away for several rounds; yields the partitions that no other drain has.

        So no other drain reads intents that are posted but not yet trimmed from the outbox.
        """
        with self._draining(range(self.cache.partitions)) as partitions:
            yield partitions

    def round(self, partitions: Sequence[int]) -> DrainReport:
        """Post and settle one batch from the partitions of this turn. If it is full, begin the next one."""
        return self._post_one(partitions, look_ahead=True)

    @contextmanager
    def _draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        self._remembered.forget_if_large()
        with self._ledger.draining(partitions) as held:
            try:
                yield held
                self._finish_next()
            finally:
                self._next = None
                self._optimistic.wait()
                self._settler.finish()

    def _finish_next(self) -> None:
        """Finish the round that was begun before its turn."""
        if self._next is not None and self._optimistic.finish_writing(self._next):
            self._settler.settle(self._next.settlements, in_background=False)

    def _post_one(self, partitions: Sequence[int], *, look_ahead: bool) -> DrainReport:
        """Read, plan, write and settle one batch."""
        current, self._next = self._next, None
        if current is None:
            self._optimistic.wait()  # after a failed settle, the writer may still have a batch
            batch = self._reader.read(partitions, self._settler.posted_up_to)
            current = self._optimistic.plan(batch)
            if current is None:
                return self._post_locked(partitions, batch)
        more_follow = self._reader.more_follow(current.batch)
        following = self._plan_next(partitions, current) if look_ahead and more_follow else None
        if not self._optimistic.finish_writing(current):
            return self._post_locked(partitions)
        if following is not None:
            self._optimistic.begin_writing(following)
        self._settler.settle(current.settlements, in_background=more_follow)
        self._next = following
        batch = current.batch
        return DrainReport(posted=len(batch.queued), deferred=len(batch.deferred), awaited=batch.awaited())

    def _plan_next(self, partitions: Sequence[int], current: PlannedBatch) -> PlannedBatch | None:
        """Read and plan the next batch while the ledger writes the current one."""
        if current.writing is None:
            self._optimistic.begin_writing(current)
        read_up_to = {**self._settler.posted_up_to, **current.batch.last_positions()}
        return self._optimistic.plan(self._reader.read_next(current.batch, partitions, read_up_to))

    def _post_locked(self, partitions: Sequence[int], batch: Batch | None = None) -> DrainReport:
        """Post the remaining intents under row locks, starting with the batch already read."""
        return self._locked.post(lambda: self._reader.read(partitions, self._settler.posted_up_to), batch)
