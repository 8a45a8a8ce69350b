"""Posting ordinary batches on remembered rows, and full ones while the next is being planned.

Whatever surprises it posts nothing and is left to the careful path (`app/services/careful.py`).
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.domain.faults import ConcurrencyConflict, LedgerConstraintViolated, RowsChanged
from app.domain.posting import PostingPlan
from app.domain.settlement import PartitionSettlement
from app.domain.settling import settlements_of
from app.domain.straight_through import Memory, StraightPlan, is_ordinary, plan_straight_through
from app.services.contention import Contention
from app.services.intake import Batch
from app.services.ports.books import DrainBooks
from app.services.ports.funds import DrainFunds

log = logging.getLogger(__name__)

_SURPRISES = (RowsChanged, ConcurrencyConflict, LedgerConstraintViolated)


@dataclass(slots=True)
class Prepared:
    """A batch with its plan, the same as the books take it, and what the cache is to be told of it; `written` once its
    writing has begun."""

    batch: Batch
    plan: StraightPlan
    packed: Any
    settlements: Sequence[PartitionSettlement]
    written: Future[None] | None = None


class StraightThrough:
    """Plans batches one upon the other, and writes them in this order, one at a time."""

    def __init__(self, funds: DrainFunds, books: DrainBooks, contention: Contention, memory: Memory) -> None:
        self._funds = funds
        self._books = books
        self._contention = contention
        self._memory = memory
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="post")
        self._on_its_way: Future[None] | None = None

    def prepare(self, batch: Batch) -> Prepared | None:
        """Plan a batch upon all that was prepared before; None where the careful path must decide it."""
        queued, memory = batch.queued, self._memory
        if not queued or not is_ordinary(queued) or batch.claimed or not memory.knows_chains(queued):
            return None
        unknown = memory.unknown(queued)
        if unknown:
            self.wait()  # the connection is in use, and what is on its way may change them
            memory.learn(self._books.balances(unknown), {})
        plan = plan_straight_through(queued, memory, self._books.now())
        if plan is None:
            return None
        memory.follow(plan)
        settlements = settlements_of(queued, PostingPlan(), plan.balances, self._funds.partition_of, whole=batch.whole)
        return Prepared(batch, plan, self._books.pack(plan), settlements)

    def start(self, prepared: Prepared) -> None:
        """Begin to write a batch while the caller goes on; none may be on its way."""
        prepared.written = self._on_its_way = self._thread.submit(self._books.post, prepared.packed)

    def complete(self, prepared: Prepared) -> bool:
        """Write a batch, or wait until it is written; whether it is in the books now.

        If it is not, nothing is remembered any more, and what was planned upon it must not be written.
        """
        try:
            if prepared.written is None:
                self._books.post(prepared.packed)
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

    def _surprised(self, plan: StraightPlan, surprise: Exception) -> None:
        self._memory.forget()
        log.info("remembered rows did not do, posting with care: %s", surprise)
        if isinstance(surprise, ConcurrencyConflict):
            changed = self._changed(plan)
            if changed:
                self._books.count_conflicts(changed, retries=1, exhausted=0)

    def _changed(self, plan: StraightPlan) -> list[str]:
        """The accounts that somebody else has changed since they were remembered."""
        present = self._books.balances(plan.balances.keys())
        return sorted(row.account_id for row in plan.balances_before if present[row.account_id].version != row.version)
