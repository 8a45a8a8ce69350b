"""Draining: from the outbox into the books, and what the books say back into the cache.

Load, write, settle. Everything may be repeated at any point: what is posted already is only settled again.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.domain.clock import to_milliseconds
from app.domain.decisions import RecordState
from app.domain.faults import ConcurrencyConflict, LedgerConstraintViolated
from app.domain.holds import HoldState
from app.domain.partitions import parse_payment_id
from app.domain.payments import CONCLUSIONS, Kind, refuse_reused
from app.domain.posting import LedgerBalance, PostingPlan, QueuedIntent, journal_key, plan_posting, units
from app.domain.refusals import Refusal, RefusalCode
from app.domain.settlement import AccountSettlement, Notice
from app.services.contention import RETRIES, Contention, backoff_s
from app.services.ports import DrainBooks, DrainFunds

log = logging.getLogger(__name__)

BATCH_LIMIT = 2_000
"""Payments in one transaction: most of what group commit gives, and still well below a tenth of a second."""

JOURNAL_PATIENCE_MS = 30_000
"""A journal's hold is its maker's to settle. After this, longer than any request lives, it was left behind."""


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


@dataclass(slots=True)
class _Batch:
    """The intents of one round: those to post now and those left for later."""

    queued: list[QueuedIntent] = field(default_factory=list)
    deferred: list[QueuedIntent] = field(default_factory=list)
    contended: set[str] = field(default_factory=set)
    """Accounts that somebody else had locked in this round."""
    spent: set[str] = field(default_factory=set)
    """Those of them whose retries are used up."""
    whole: bool = True
    """Whether the round's intents are all that stand before their last position."""

    def account_ids(self) -> list[str]:
        return sorted({account_id for queued in self.queued for account_id in queued.account_ids})

    def defer(self, contended: set[str]) -> None:
        """Leave the intents that touch these accounts for later."""
        kept: list[QueuedIntent] = []
        for unit in units(self.queued):
            (self.deferred if _touches(unit, contended) else kept).extend(unit)
        self.queued = kept
        self.contended = contended
        self.whole = False

    def exhausted(self) -> list[QueuedIntent]:
        """The intents whose retries are used up."""
        return [queued for queued in self.deferred if not self.spent.isdisjoint(queued.account_ids)]


@dataclass(slots=True)
class _Posted:
    """What a committed round leaves to be settled."""

    batch: _Batch
    plan: PostingPlan
    balances: dict[str, LedgerBalance]


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
        self._sleep = sleep
        self._jitter = jitter
        self._batch_limit = batch_limit
        self._now_ms = now_ms

    def run_once(self) -> DrainReport:
        """Post and settle one batch from all partitions that have intents and that nobody else is draining."""
        backlogged = [partition for partition, length in self.funds.backlog().items() if length]
        if not backlogged:
            return DrainReport()
        # Held until the settle is done: nobody else reads what is in the books and not yet trimmed.
        with self._books.draining(backlogged) as partitions:
            return self._retried(partitions, None) if partitions else DrainReport()

    def _retried(self, partitions: Sequence[int], chosen: _Batch | None) -> DrainReport:
        report = DrainReport()
        batch = chosen or _Batch()
        for attempt in range(RETRIES):
            batch = chosen or _Batch()
            try:
                report.add(self._attempt(partitions, batch, read=chosen is None))
                return report
            except ConcurrencyConflict as conflict:
                report.conflicts += 1
                self._count_conflict(batch, conflict, last=attempt + 1 == RETRIES)
                self._sleep(backoff_s(attempt, self._jitter()))
            except LedgerConstraintViolated as violation:
                report.add(self._isolate(partitions, batch, violation))
                return report
        self._announce_exhausted(batch.queued)
        report.exhausted += len(batch.queued)
        return report

    def _attempt(
        self, partitions: Sequence[int], batch: _Batch, *, read: bool, culprit: Refusal | None = None
    ) -> DrainReport:
        """One posting transaction and its settle. `batch` is filled in after the lock unless it was chosen."""
        report = DrainReport()
        with self._books.posting(partitions) as posting:
            if read:
                self._read(sorted(posting.heads), batch)
            batch.queued = [queued for queued in batch.queued if queued.place.partition in posting.heads]
            balances, contended = posting.lock_balances(batch.account_ids())
            self._contention.clear(balances)
            if contended:
                batch.defer(contended)
                batch.spent = self._contention.note(contended)
            if batch.queued:
                known, rejected_before = posting.known_outcomes(_keys(batch.queued))
                posted_at = posting.posting_time(balances)
                refused = self._claimed_by_others(batch.queued)
                if culprit is not None:
                    refused = {queued.place.payment_id: culprit for queued in batch.queued}
                holds = posting.lock_holds(
                    [queued.payment_id for queued in batch.queued if queued.intent.kind in CONCLUSIONS]
                )
                plan = plan_posting(
                    batch.queued,
                    known,
                    rejected_before,
                    balances,
                    posting.heads,
                    posted_at,
                    holds=holds,
                    refused=refused,
                )
                posting.write(plan, balances, posted_at)
        if batch.queued:
            self._settle(_Posted(batch, plan, balances))
            report.posted = len(plan.transactions) + len(plan.authorized) + len(plan.concluded)
            report.posted -= sum(hold.state is HoldState.CAPTURED for hold in plan.concluded)
            report.posted += sum(posted for _, posted in plan.redelivered)
            report.rejected = len(plan.rejections) + sum(not posted for _, posted in plan.redelivered)
            report.duplicates = len(plan.duplicates)
            for rejection in plan.rejections:
                log.error("payment %s rejected: %s", rejection.queued.place.payment_id, rejection.refusal.detail)
        report.deferred = len(batch.deferred)
        report.exhausted = self._report_contention(batch)
        return report

    # Load

    def _read(self, partitions: Sequence[int], batch: _Batch) -> None:
        share = max(1, self._batch_limit // len(partitions))
        waiting = self._contention.waiting()
        for partition in partitions:
            self._read_partition(partition, share, waiting, batch)
        batch.whole = not batch.deferred

    def _read_partition(self, partition: int, share: int, waiting: set[str], batch: _Batch) -> None:
        """Read up to `share` intents that may be tried now, passing over those whose accounts are locked.

        An atomic batch is read whole, however many it has beyond the share.
        """
        taken = 0
        for unit in units(self._outbox(partition, share)):
            if self._is_in_hand(unit[0]) or (waiting and _touches(unit, waiting)):
                batch.deferred += unit
            else:
                batch.queued += unit
                taken += len(unit)
            if taken >= share:
                return

    def _is_in_hand(self, queued: QueuedIntent) -> bool:
        """Whether it is the hold of a journal that may still be on its way."""
        age_ms = self._now_ms() - queued.place.accepted_at_ms
        return queued.intent.kind == Kind.JOURNAL_HOLD and age_ms < JOURNAL_PATIENCE_MS

    def _outbox(self, partition: int, page_size: int) -> Iterator[QueuedIntent]:
        """The intents of a partition, oldest first, read as they are asked for."""
        after = "-"
        while True:
            page = self.funds.outbox(partition, after, page_size)
            yield from page
            if len(page) < page_size:
                return
            after = page[-1].place.position

    def _claimed_by_others(self, queued: Sequence[QueuedIntent]) -> dict[str, Refusal]:
        """The intents whose external id another partition saw first, with other content.

        Whoever sent them was told so; they must not post, nor push the first payment aside.
        """
        claiming = [one for one in queued if one.intent.kind not in CONCLUSIONS]
        elsewhere = self.funds.claimed_elsewhere(list(_by_partition(claiming).items()))
        refused = {}
        for one in claiming:
            first = elsewhere.get(one.key)
            if first is None or first == one.place.partition:
                continue
            record = self.funds.record(first, *one.key)
            if record is not None and record.fingerprint != one.intent.fingerprint:
                refused[one.place.payment_id] = refuse_reused(one.intent, record.fingerprint)
        return refused

    # Conflicts

    def _report_contention(self, batch: _Batch) -> int:
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

    def _count_conflict(self, batch: _Batch, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = sorted(self._books.contended(batch.account_ids())) or ["(unknown)"]
        log.warning("posting aborted by a concurrent one on %s: %s", ", ".join(hot[:5]), conflict)
        self._books.count_conflicts(hot, retries=1, exhausted=int(last))

    def _announce_exhausted(self, exhausted: Sequence[QueuedIntent]) -> None:
        for partition, group in _by_partition(exhausted).items():
            self.funds.announce(Notice(partition, exhausted=[queued.place.position for queued in group]))

    def _isolate(self, partitions: Sequence[int], batch: _Batch, violation: LedgerConstraintViolated) -> DrainReport:
        """Find the intents that a constraint rejects, by halves, so that the rest posts; atomic batches stay whole."""
        parts = list(units(batch.queued))
        if len(parts) == 1:
            refusal = Refusal(
                RefusalCode.REJECTED_BY_LEDGER if len(parts[0]) == 1 else RefusalCode.LINKED_PAYMENT_FAILED,
                f"The books rejected the posting by {violation.constraint or 'a constraint'}: {violation}",
                {"constraint": violation.constraint},
            )
            return self._attempt(partitions, batch, read=False, culprit=refusal)
        middle = len(parts) // 2
        report = DrainReport()
        for half in (parts[:middle], parts[middle:]):
            queued = [one for unit in half for one in unit]
            report.add(self._retried(partitions, _Batch(queued=queued, whole=False)))
        return report

    # Settle

    def _settle(self, posted: _Posted) -> None:
        """Tell the cache; accounts of other partitions first, the drained ones last, for these trim the outbox."""
        settlements = _settlements(posted)
        drained = _by_partition(posted.batch.queued)
        groups: dict[int, list[AccountSettlement]] = {partition: [] for partition in drained}
        for settlement in settlements.values():
            groups.setdefault(self.funds.partition_of(settlement.account_id), []).append(settlement)
        for partition in sorted(groups, key=lambda partition: partition in drained):
            if partition in drained:
                self._settle_drained(posted, partition, drained[partition], groups[partition])
            else:
                self.funds.settle(partition, groups[partition])

    def _settle_drained(
        self, posted: _Posted, partition: int, queued: Sequence[QueuedIntent], accounts: list[AccountSettlement]
    ) -> None:
        records, refused = _new_records(posted.plan, partition)
        positions = [one.place.position for one in queued]
        if posted.batch.whole:
            notice = Notice(partition, up_to=positions[-1], refused=refused)
            self.funds.settle(partition, accounts, records=records, done_up_to=positions[-1], notice=notice)
        else:
            notice = Notice(partition, done=positions, refused=refused)
            self.funds.settle(partition, accounts, records=records, done=positions, notice=notice)


def _keys(queued: Sequence[QueuedIntent]) -> list[tuple[str, str]]:
    """What the books are asked about: the intents, and the journals behind those that are holds of one."""
    journals = {journal_key(one) for one in queued if one.intent.kind == Kind.JOURNAL_HOLD}
    return [*(one.key for one in queued), *sorted(journals)]


def _touches(unit: Sequence[QueuedIntent], account_ids: set[str]) -> bool:
    return any(not account_ids.isdisjoint(queued.account_ids) for queued in unit)


def _by_partition(queued: Iterable[QueuedIntent]) -> dict[int, list[QueuedIntent]]:
    groups: dict[int, list[QueuedIntent]] = {}
    for one in queued:
        groups.setdefault(one.place.partition, []).append(one)
    return groups


def _settlements(posted: _Posted) -> dict[str, AccountSettlement]:
    settlements = {
        row.account_id: AccountSettlement(
            row.account_id, row.balance_minor, row.entry_count, row.version, to_milliseconds(row.updated_at)
        )
        for row in posted.balances.values()
    }
    plan = posted.plan
    released = {rejection.queued.place.payment_id for rejection in plan.rejections}
    released |= {duplicate.queued.place.payment_id for duplicate in plan.duplicates}
    released |= {queued.place.payment_id for queued, was_posted in plan.redelivered if not was_posted}
    for queued in posted.batch.queued:
        settlement = settlements.get(queued.intent.guarded_account_id)
        if settlement is None:
            continue  # the books do not know the account; its hold goes with the account's cache
        if queued.place.payment_id in released:
            settlement.released.append(queued.place.position)
            continue
        if queued.intent.kind in CONCLUSIONS:
            # Gone already, unless a hydration has brought it back from books that were a moment behind.
            settlement.released.append(_position_of(queued.payment_id))
        if queued.intent.kind != Kind.AUTHORIZATION:
            settlement.posted.append(queued.place.position)
    return settlements


def _position_of(payment_id: str) -> str:
    place = parse_payment_id(payment_id)
    assert place is not None
    return place.position


def _new_records(plan: PostingPlan, partition: int) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The idempotency records to rewrite, and the positions that were not posted under their own id."""
    records, refused = {}, []
    for rejection in plan.rejections:
        if rejection.queued.place.partition == partition:
            position = rejection.queued.place.position
            if rejection.queued.intent.kind not in CONCLUSIONS:  # the record is the authorization's, which stands
                records[rejection.queued.key] = f"{RecordState.REJECTED}|{position}"
            refused.append(position)
    for duplicate in plan.duplicates:
        if duplicate.queued.place.partition == partition:
            records[duplicate.queued.key] = f"{RecordState.DUPLICATE}|{duplicate.original_payment_id}"
            refused.append(duplicate.queued.place.position)
    for queued, was_posted in plan.redelivered:
        if queued.place.partition == partition and not was_posted:
            if queued.intent.kind not in CONCLUSIONS:
                records[queued.key] = f"{RecordState.REJECTED}|{queued.place.position}"
            refused.append(queued.place.position)
    return records, refused
