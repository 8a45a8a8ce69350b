"""Draining: from the outbox into the books, and what the books say back into the cache.

Load, write, settle. Everything may be repeated at any point: what is posted already is only settled again.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from app.domain.faults import ConcurrencyConflict, LedgerConstraintViolated
from app.domain.holds import HoldState
from app.domain.payments import CONCLUSIONS, Kind, refuse_reused
from app.domain.planning import plan_posting
from app.domain.posting import PostingPlan, QueuedIntent, by_partition, journal_key, units
from app.domain.refusals import Refusal, RefusalCode
from app.domain.settlement import Notice
from app.domain.settling import settlements_of
from app.services.contention import RETRIES, Contention, backoff_s
from app.services.intake import Batch, Intake
from app.services.ports import DrainBooks, DrainFunds
from app.services.settler import Settler

log = logging.getLogger(__name__)

BATCH_LIMIT = 2_000
"""Payments in one transaction: most of what group commit gives, and still well below a tenth of a second."""


@dataclass(slots=True)
class DrainReport:
    """What one round did, in payments."""

    posted: int = 0
    rejected: int = 0
    duplicates: int = 0
    deferred: int = 0
    conflicts: int = 0
    exhausted: int = 0

    @property
    def settled(self) -> int:
        """How many payments left the outbox."""
        return self.posted + self.rejected + self.duplicates

    def add(self, other: "DrainReport") -> None:
        """Add another round to this one."""
        self.posted += other.posted
        self.rejected += other.rejected
        self.duplicates += other.duplicates
        self.deferred += other.deferred
        self.conflicts += other.conflicts
        self.exhausted += other.exhausted


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
        self._contention = contention
        self._intake = Intake(funds, contention, batch_limit, now_ms)
        self._settler = Settler(funds)
        self._sleep = sleep
        self._jitter = jitter

    @contextmanager
    def turn(self) -> Iterator[list[int]]:
        """Keep other drains away, for as many rounds as are made; yields the partitions that nobody else is draining.

        Nobody else reads meanwhile what is in the books and not yet trimmed.
        """
        with self._draining(range(self.funds.partitions)) as partitions:
            yield partitions

    def round(self, partitions: Sequence[int]) -> DrainReport:
        """Post and settle one batch from partitions that this drain keeps others away from."""
        return self._retried(lambda: self._intake.read(partitions, self._settler.posted_up_to))

    def run_once(self) -> DrainReport:
        """Take a turn of one round, if there are intents at all."""
        backlogged = [partition for partition, length in self.funds.backlog().items() if length]
        if not backlogged:
            return DrainReport()
        with self._draining(backlogged) as partitions:
            return self.round(partitions) if partitions else DrainReport()

    @contextmanager
    def _draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        with self._books.draining(partitions) as held:
            try:
                yield held
            finally:
                self._settler.finish()

    def _retried(self, take: Callable[[], Batch]) -> DrainReport:
        """Post the batch that `take` gives, taken anew for each try."""
        report = DrainReport()
        for attempt in range(RETRIES):
            batch = take()
            try:
                report.add(self._attempt(batch))
                return report
            except ConcurrencyConflict as conflict:
                report.conflicts += 1
                self._count_conflict(batch, conflict, last=attempt + 1 == RETRIES)
                self._sleep(backoff_s(attempt, self._jitter()))
            except LedgerConstraintViolated as violation:
                report.add(self._isolate(batch, violation))
                return report
        self._announce_exhausted(batch.queued)
        report.exhausted += len(batch.queued)
        return report

    def _attempt(self, batch: Batch, *, culprit: Refusal | None = None) -> DrainReport:
        """One posting transaction and its settle."""
        report = DrainReport(deferred=len(batch.deferred))
        if not batch.queued:
            return report
        refused = self._claimed_by_others(batch.queued)
        with self._books.posting(batch.partitions()) as posting:
            balances, contended = posting.lock_balances(batch.account_ids())
            self._contention.clear(balances)
            if contended:
                batch.defer(contended)
                batch.spent = self._contention.note(contended)
            queued = batch.queued
            if queued:
                if culprit is not None:
                    refused = {one.place.payment_id: culprit for one in queued}
                known, rejected_before = posting.known_outcomes(_keys(queued))
                posted_at = posting.posting_time(balances)
                holds = posting.lock_holds([one.payment_id for one in queued if one.intent.kind in CONCLUSIONS])
                plan = plan_posting(
                    queued,
                    known,
                    rejected_before,
                    balances,
                    posting.heads,
                    posted_at,
                    holds=holds,
                    refused=refused,
                )
                posting.write(plan, balances, posted_at)
        if queued:
            settlements = settlements_of(queued, plan, balances, self.funds.partition_of, whole=batch.whole)
            self._settler.settle(settlements, beside=batch.whole and self._intake.is_full(batch))
            _count(report, plan)
        report.deferred = len(batch.deferred)
        report.exhausted = self._report_contention(batch)
        return report

    def _claimed_by_others(self, queued: Sequence[QueuedIntent]) -> dict[str, Refusal]:
        """The intents whose external id another partition saw first, with other content.

        Whoever sent them was told so; they must not post, nor push the first payment aside.
        """
        claiming = [one for one in queued if one.intent.kind not in CONCLUSIONS]
        elsewhere = self.funds.claimed_elsewhere(list(by_partition(claiming).items()))
        refused: dict[str, Refusal] = {}
        if not elsewhere:
            return refused
        for one in claiming:
            first = elsewhere.get(one.key)
            if first is None or first == one.place.partition:
                continue
            record = self.funds.record(first, *one.key)
            if record is not None and record.fingerprint != one.intent.fingerprint:
                refused[one.place.payment_id] = refuse_reused(one.intent, record.fingerprint)
        return refused

    # Conflicts

    def _report_contention(self, batch: Batch) -> int:
        """Count what was found locked, and tell the waiters whose retries are used up; returns how many these are."""
        if not batch.contended:
            return 0
        self._books.count_conflicts(sorted(batch.contended), retries=1, exhausted=0)
        exhausted = batch.exhausted()
        if exhausted:
            log.warning("%d payments wait for accounts locked elsewhere: %s", len(exhausted), sorted(batch.spent)[:5])
            self._books.count_conflicts(sorted(batch.spent), retries=0, exhausted=1)
            self._announce_exhausted(exhausted)
        return len(exhausted)

    def _count_conflict(self, batch: Batch, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = sorted(self._books.contended(batch.account_ids())) or ["(unknown)"]
        log.warning("posting aborted by a concurrent one on %s: %s", ", ".join(hot[:5]), conflict)
        self._books.count_conflicts(hot, retries=1, exhausted=int(last))

    def _announce_exhausted(self, exhausted: Sequence[QueuedIntent]) -> None:
        for partition, group in by_partition(exhausted).items():
            self.funds.announce(Notice(partition, exhausted=[queued.place.position for queued in group]))

    def _isolate(self, batch: Batch, violation: LedgerConstraintViolated) -> DrainReport:
        """Find the intents that a constraint rejects, by halves, so that the rest posts; atomic batches stay whole."""
        parts = list(units(batch.queued))
        if len(parts) == 1:
            refusal = Refusal(
                RefusalCode.REJECTED_BY_LEDGER if len(parts[0]) == 1 else RefusalCode.LINKED_PAYMENT_FAILED,
                f"The books rejected the posting by {violation.constraint or 'a constraint'}: {violation}",
                {"constraint": violation.constraint},
            )
            return self._attempt(batch, culprit=refusal)
        middle = len(parts) // 2
        report = DrainReport()
        for half in (parts[:middle], parts[middle:]):
            report.add(self._retried(partial(_part, half)))
        return report


def _part(parts: Sequence[Sequence[QueuedIntent]]) -> Batch:
    """Some of a round's intents; others stand before their last position."""
    return Batch(queued=[one for unit in parts for one in unit], whole=False)


def _count(report: DrainReport, plan: PostingPlan) -> None:
    """Count what a committed plan has done, and log what it rejected."""
    report.posted = len(plan.transactions) + len(plan.authorized) + len(plan.concluded)
    report.posted -= sum(hold.state is HoldState.CAPTURED for hold in plan.concluded)
    report.posted += sum(posted for _, posted in plan.redelivered)
    report.rejected = len(plan.rejections) + sum(not posted for _, posted in plan.redelivered)
    report.duplicates = len(plan.duplicates)
    for rejection in plan.rejections:
        log.error("payment %s rejected: %s", rejection.queued.place.payment_id, rejection.refusal.detail)


def _keys(queued: Sequence[QueuedIntent]) -> list[tuple[str, str]]:
    """What the books are asked about: the intents, and the journals behind those that are holds of one."""
    journals = {journal_key(one) for one in queued if one.intent.kind == Kind.JOURNAL_HOLD}
    return [*(one.key for one in queued), *sorted(journals)]
