"""Posting on locked rows: the way of every batch that is not ordinary, or was not as it was remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.domain.errors import ConcurrencyConflict, LedgerConstraintViolated
from app.domain.ledger_rows import QueuedIntent, by_partition, journal_key, units
from app.domain.optimistic_plan import RememberedRows
from app.domain.payment import CONCLUSIONS, Kind
from app.domain.posting_plan import plan_posting
from app.domain.refusals import Refusal, RefusalCode
from app.domain.settlement import Notice, settlements_of
from app.services.posting.contention import RETRIES, Contention, backoff_s
from app.services.posting.outbox import Batch, DrainReport, OutboxReader, Settler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.posting_session import PostingSession


log = logging.getLogger(__name__)


class LockedPosting:
    """Locks, looks, plans, writes, settles; tries again where somebody else was in the way."""

    def __init__(
        self,
        cache: Cache,
        ledger: PostingSession,
        contention: Contention,
        settler: Settler,
        intake: OutboxReader,
        memory: RememberedRows,
        *,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._ledger = ledger
        self._contention = contention
        self._settler = settler
        self._reader = intake
        self._remembered = memory
        self._sleep = sleep
        self._jitter = jitter

    def post(self, take: Callable[[], Batch]) -> DrainReport:
        """Post and settle the batch that `take` gives, taken anew for each try."""
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
        report = DrainReport(deferred=len(batch.deferred), awaited=batch.awaited())
        if not batch.queued:
            return report
        refused = batch.claimed
        with self._ledger.posting(batch.partitions()) as posting:
            balances, contended = posting.lock_balances(batch.account_ids())
            self._contention.clear(balances)
            if contended:
                batch.defer(contended)
                batch.spent = self._contention.note(contended)
            queued = batch.queued
            if queued:
                if culprit is not None:
                    refused = {one.outbox_position.payment_id: culprit for one in queued}
                known, rejected_before = posting.known_outcomes(_keys(queued))
                posted_at = posting.posting_time(balances)
                authorizations = posting.lock_authorizations(
                    [one.payment_id for one in queued if one.intent.kind in CONCLUSIONS]
                )
                plan = plan_posting(
                    queued,
                    known,
                    rejected_before,
                    balances,
                    posting.heads,
                    posted_at,
                    authorizations=authorizations,
                    refused=refused,
                )
                posting.write(plan, balances, posted_at)
        if queued:
            self._remembered.learn(balances, posting.heads)
            settlements = settlements_of(queued, plan, balances, self._cache.partition_of, whole=batch.whole)
            self._settler.settle(settlements, beside=self._reader.is_followed(batch))
            report.count(plan)
        report.deferred = len(batch.deferred)
        report.exhausted = self._report_contention(batch)
        return report

    # Conflicts

    def _report_contention(self, batch: Batch) -> int:
        """Count what was found locked, and tell the waiters whose retries are used up; returns how many these are."""
        if not batch.contended:
            return 0
        self._ledger.count_conflicts(sorted(batch.contended), retries=1, exhausted=0)
        exhausted = batch.exhausted()
        if exhausted:
            log.warning("%d payments wait for accounts locked elsewhere: %s", len(exhausted), sorted(batch.spent)[:5])
            self._ledger.count_conflicts(sorted(batch.spent), retries=0, exhausted=1)
            self._announce_exhausted(exhausted)
        return len(exhausted)

    def _count_conflict(self, batch: Batch, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = sorted(self._ledger.contended(batch.account_ids())) or ["(unknown)"]
        log.warning("posting aborted by a concurrent one on %s: %s", ", ".join(hot[:5]), conflict)
        self._ledger.count_conflicts(hot, retries=1, exhausted=int(last))

    def _announce_exhausted(self, exhausted: Sequence[QueuedIntent]) -> None:
        for partition, group in by_partition(exhausted).items():
            self._cache.outbox.announce(
                Notice(partition, exhausted=[queued.outbox_position.stream_id for queued in group])
            )

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
            report.add(self.post(partial(batch.part, half)))
        return report


def _keys(queued: Sequence[QueuedIntent]) -> list[tuple[str, str]]:
    """What the books are asked about: the intents, and the journals behind those that are holds of one."""
    journals = {journal_key(one) for one in queued if one.intent.kind == Kind.JOURNAL_HOLD}
    return [*(one.key for one in queued), *sorted(journals)]
