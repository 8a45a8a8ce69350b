"""Posting under row locks: for batches that are not ordinary, or whose rows are no longer as remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.domain.errors import ConcurrencyConflict, Fault, LedgerConstraintViolated
from app.domain.ledger_rows import (
    LedgerBalance,
    PostingPlan,
    QueuedIntent,
    RememberedRows,
    by_partition,
    journal_key,
    units,
)
from app.domain.payment import CONCLUSIONS, Kind
from app.domain.payment_refusals import rejected_by_constraint
from app.domain.posting_plan import plan_posting
from app.domain.refusals import Refusal
from app.domain.settlement import Notice, settlements_of
from app.services.posting.contention import RETRIES, Contention, backoff_s
from app.services.posting.outbox import Batch, DrainReport, OutboxReader, Settler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.locked_posting import Posting
    from app.ledger.posting_session import PostingSession


log = logging.getLogger(__name__)


class LockedPosting:
    """Locks rows, plans, writes and settles a batch; tries again after a conflict."""

    def __init__(
        self,
        cache: Cache,
        ledger: PostingSession,
        contention: Contention,
        reader: OutboxReader,
        settler: Settler,
        memory: RememberedRows,
        *,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._ledger = ledger
        self._contention = contention
        self._reader = reader
        self._settler = settler
        self._remembered = memory
        self._sleep = sleep
        self._jitter = jitter

    def post(self, read: Callable[[], Batch], first: Batch | None = None) -> DrainReport:
        """Post and settle a batch. Each try reads it again, except that the first one may be given `first`."""
        report = DrainReport()
        for attempt in range(RETRIES):
            batch = first if attempt == 0 and first is not None else read()
            try:
                report.add(self._post_once(batch, batch.claimed))
                count_waits(self._contention, self._ledger)
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

    def _post_once(self, batch: Batch, refused: Mapping[str, Refusal]) -> DrainReport:
        """One posting transaction and its settlement; `refused` are the intents to reject, by payment id."""
        report = DrainReport(deferred=len(batch.deferred), awaited=batch.awaited())
        if not batch.queued:
            return report
        with self._ledger.posting(batch.partitions()) as posting:
            balances = self._lock_balances(posting, batch)
            plan = _plan(posting, batch.queued, balances, refused) if batch.queued else None
            if plan is not None:
                posting.write(plan)
        if plan is not None:
            self._remembered.learn(balances, posting.heads)
            settlements = settlements_of(batch.queued, plan, balances, self._cache.partition_of, whole=batch.whole)
            self._settler.settle(settlements, in_background=self._reader.more_follow(batch))
            report.count(plan)
        report.deferred = len(batch.deferred)
        report.exhausted = self._report_contention(batch)
        return report

    def _lock_balances(self, posting: Posting, batch: Batch) -> dict[str, LedgerBalance]:
        """Lock the rows of a batch, and defer the intents whose rows somebody else has locked."""
        balances, contended = posting.lock_balances(batch.account_ids())
        self._contention.clear(balances)
        if contended:
            batch.defer(contended)
            batch.spent = self._contention.note(contended)
        return balances

    def _isolate(self, batch: Batch, violation: LedgerConstraintViolated) -> DrainReport:
        """Find the intents that a constraint rejects, by bisection, and post the rest; atomic batches stay whole."""
        parts = list(units(batch.queued))
        if len(parts) == 1:
            refusal = rejected_by_constraint(violation.constraint, str(violation), linked=len(parts[0]) > 1)
            return self._post_once(batch, {one.outbox_position.payment_id: refusal for one in batch.queued})
        middle = len(parts) // 2
        report = DrainReport()
        for half in (parts[:middle], parts[middle:]):
            report.add(self.post(partial(batch.part, half)))
        return report

    # Conflicts

    def _count_conflict(self, batch: Batch, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = sorted(self._ledger.conflicts.accounts(batch.account_ids()))
        log.warning("posting aborted by a concurrent one on %s: %s", ", ".join(hot[:5]), conflict)
        self._contention.note_conflict(hot)
        self._ledger.conflicts.count(hot or ["(unknown)"], retries=1, exhausted=int(last))

    def _report_contention(self, batch: Batch) -> int:
        """Count the accounts that were locked, and announce the intents whose retries are used up; returns how many."""
        if not batch.contended:
            return 0
        self._ledger.conflicts.count(sorted(batch.contended), retries=1, exhausted=0)
        exhausted = batch.exhausted()
        if exhausted:
            log.warning("%d payments wait for accounts locked elsewhere: %s", len(exhausted), sorted(batch.spent)[:5])
            self._ledger.conflicts.count(sorted(batch.spent), retries=0, exhausted=1)
            self._announce_exhausted(exhausted)
        return len(exhausted)

    def _announce_exhausted(self, exhausted: Sequence[QueuedIntent]) -> None:
        for partition, group in by_partition(exhausted).items():
            stream_ids = [queued.outbox_position.stream_id for queued in group]
            self._cache.outbox.announce(Notice(partition, exhausted=stream_ids))


def count_waits(contention: Contention, ledger: PostingSession) -> None:
    """Count how long postings have waited for accounts that are free now. A statistic ends no round."""
    waited_s = contention.take_ended()
    if waited_s:
        try:
            ledger.conflicts.count_waits(waited_s)
        except Fault as fault:
            log.warning("waits for %d accounts are not counted: %s", len(waited_s), fault)


def _plan(
    posting: Posting,
    queued: Sequence[QueuedIntent],
    balances: dict[str, LedgerBalance],
    refused: Mapping[str, Refusal],
) -> PostingPlan:
    """Ask the ledger which of these intents it knows, and plan the rest; advances `balances` and the chains' heads."""
    known, rejected_before = posting.known_outcomes(_keys(queued))
    posted_at = posting.posting_time(balances)
    concluded = [one.payment_id for one in queued if one.intent.kind in CONCLUSIONS]
    authorizations = posting.lock_authorizations(concluded)
    return plan_posting(
        queued,
        known,
        rejected_before,
        balances,
        posting.heads,
        posted_at,
        authorizations=authorizations,
        refused=refused,
    )


def _keys(queued: Sequence[QueuedIntent]) -> list[tuple[str, str]]:
    """The keys of the intents, and of the journals for which some of them hold funds."""
    journals = {journal_key(one) for one in queued if one.intent.kind == Kind.JOURNAL_HOLD}
    return [*(one.key for one in queued), *sorted(journals)]
