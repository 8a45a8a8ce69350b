"""Posting ordinary batches on remembered rows, and full ones while the next is being planned.

Whatever surprises it posts nothing and is left to the careful path (`app/services/posting/locked.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.domain.errors import ConcurrencyConflict, LedgerConstraintViolated, RowsChanged
from app.domain.ledger_rows import PostingPlan
from app.domain.optimistic_plan import OptimisticPlan, RememberedRows, is_ordinary, plan_optimistically
from app.domain.settlement import PartitionSettlement, settlements_of
from app.services.posting.contention import Contention
from app.services.posting.locked import LockedPosting
from app.services.posting.outbox import Batch, DrainReport, OutboxReader, Settler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.posting_session import PostingSession


log = logging.getLogger(__name__)

_SURPRISES = (RowsChanged, ConcurrencyConflict, LedgerConstraintViolated)


@dataclass(slots=True)
class Prepared:
    """A batch with its plan, the same as the books take it, and what the cache is to be told of it; `written` once its
    writing has begun."""

    batch: Batch
    plan: OptimisticPlan
    packed: Any
    settlements: Sequence[PartitionSettlement]
    written: Future[None] | None = None


class OptimisticPosting:
    """Plans batches one upon the other, and writes them in this order, one at a time."""

    def __init__(self, cache: Cache, ledger: PostingSession, contention: Contention, memory: RememberedRows) -> None:
        self._cache = cache
        self._ledger = ledger
        self._contention = contention
        self._remembered = memory
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="post")
        self._on_its_way: Future[None] | None = None

    def prepare(self, batch: Batch) -> Prepared | None:
        """Plan a batch upon all that was prepared before; None where the careful path must decide it."""
        queued, memory = batch.queued, self._remembered
        if not queued or not is_ordinary(queued) or batch.claimed or not memory.knows_chains(queued):
            return None
        unknown = memory.unknown(queued)
        if unknown:
            self.wait()  # the connection is in use, and what is on its way may change them
            memory.learn(self._ledger.balances(unknown), {})
        plan = plan_optimistically(queued, memory, self._ledger.now())
        if plan is None:
            return None
        memory.follow(plan)
        settlements = settlements_of(queued, PostingPlan(), plan.balances, self._cache.partition_of, whole=batch.whole)
        return Prepared(batch, plan, self._ledger.pack(plan), settlements)

    def start(self, prepared: Prepared) -> None:
        """Begin to write a batch while the caller goes on; none may be on its way."""
        prepared.written = self._on_its_way = self._thread.submit(self._ledger.post, prepared.packed)

    def complete(self, prepared: Prepared) -> bool:
        """Write a batch, or wait until it is written; whether it is in the books now.

        If it is not, nothing is remembered any more, and what was planned upon it must not be written.
        """
        try:
            if prepared.written is None:
                self._ledger.post(prepared.packed)
            else:
                prepared.written.result()
        except _SURPRISES as surprise:
            self._surprised(prepared.plan, surprise)
            return False
        finally:
            self._on_its_way = None
        self._contention.clear(prepared.plan.balances)
        return True

    def wait(self) -> None:
        """Wait for what is on its way, whatever becomes of it."""
        if self._on_its_way is not None:
            self._on_its_way.exception()

    def _surprised(self, plan: OptimisticPlan, surprise: Exception) -> None:
        self._remembered.forget()
        log.info("remembered rows did not do, posting with care: %s", surprise)
        if isinstance(surprise, ConcurrencyConflict):
            changed = self._changed(plan)
            if changed:
                self._ledger.count_conflicts(changed, retries=1, exhausted=0)

    def _changed(self, plan: OptimisticPlan) -> list[str]:
        """The accounts that somebody else has changed since they were remembered."""
        present = self._ledger.balances(plan.balances.keys())
        return sorted(row.account_id for row in plan.balances_before if present[row.account_id].version != row.version)


BATCH_LIMIT = 2_000
"""Payments in one transaction: most of what group commit gives, and still well below a tenth of a second."""


class Drain:
    """Drains the outbox. One instance a worker; advisory locks keep two from the same partition."""

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
            cache, ledger, contention, self._settler, self._reader, self._remembered, sleep=sleep, jitter=jitter
        )
        self._ahead: Prepared | None = None
        """The next round, if the last one was full: it is being written already."""

    @contextmanager
    def turn(self) -> Iterator[list[int]]:
        """Keep other drains away, for as many rounds as are made; yields the partitions that nobody else is draining.

        Nobody else reads meanwhile what is in the books and not yet trimmed.
        """
        with self._draining(range(self.cache.partitions)) as partitions:
            yield partitions

    def round(self, partitions: Sequence[int]) -> DrainReport:
        """Post and settle one batch from partitions that this drain keeps others away from.

        Where the batch is full, the books write it while the next one is planned, and the cache settles it while the
        books write the next one.
        """
        return self._round(partitions, go_ahead=True)

    def run_once(self) -> DrainReport:
        """Take a turn of one round, if there are intents at all."""
        backlogged = [partition for partition, length in self.cache.outbox.backlog().items() if length]
        if not backlogged:
            return DrainReport()
        with self._draining(backlogged) as partitions:
            return self._round(partitions, go_ahead=False) if partitions else DrainReport()

    @contextmanager
    def _draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        self._remembered.forget_if_large()
        with self._ledger.draining(partitions) as held:
            try:
                yield held
                self._finish()
            finally:
                self._ahead = None
                self._optimistic.wait()
                self._settler.finish()

    def _finish(self) -> None:
        """Bring the round that was begun ahead to its end."""
        if self._ahead is not None and self._optimistic.complete(self._ahead):
            self._settler.settle(self._ahead.settlements, beside=False)

    def _round(self, partitions: Sequence[int], *, go_ahead: bool) -> DrainReport:
        current, self._ahead = self._ahead, None
        if current is None:
            self._optimistic.wait()  # where a settle failed, more may have been begun
            batch = self._reader.read(partitions, self._settler.posted_up_to)
            current = self._optimistic.prepare(batch)
            if current is None:
                return self._post_locked(partitions, batch)
        is_followed = self._reader.is_followed(current.batch)
        following = self._go_ahead(partitions, current) if go_ahead and is_followed else None
        if not self._optimistic.complete(current):
            return self._post_locked(partitions)
        if following is not None:
            self._optimistic.start(following)
        self._settler.settle(current.settlements, beside=is_followed)
        self._ahead = following
        batch = current.batch
        return DrainReport(posted=len(batch.queued), deferred=len(batch.deferred), awaited=batch.awaited())

    def _go_ahead(self, partitions: Sequence[int], current: Prepared) -> Prepared | None:
        """Prepare the next batch while the books write this one."""
        if current.written is None:
            self._optimistic.start(current)
        taken = {**self._settler.posted_up_to, **current.batch.last_positions()}
        return self._optimistic.prepare(self._reader.read_behind(current.batch, partitions, taken))

    def _post_locked(self, partitions: Sequence[int], batch: Batch | None = None) -> DrainReport:
        """Post with care what stands behind the posted; the batch that was read already, for the first try."""
        unread = [batch] if batch is not None else []
        return self._locked.post(
            lambda: unread.pop() if unread else self._reader.read(partitions, self._settler.posted_up_to)
        )
