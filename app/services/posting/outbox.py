"""The drain's side of the outbox: reading batches of intents, and settling them once they are posted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.authorizations import AuthorizationState
from app.domain.ledger_rows import PostingPlan, QueuedIntent, by_partition, units
from app.domain.origin import request_id_of
from app.domain.payment import CONCLUSIONS, Kind, OutboxPosition
from app.domain.payment_checks import refuse_reused
from app.domain.refusals import Refusal
from app.domain.settlement import PartitionSettlement
from app.services.posting.contention import Contention

if TYPE_CHECKING:
    from app.cache.cache import Cache


log = logging.getLogger(__name__)

JOURNAL_PATIENCE_MS = 30_000
"""The process that posts a journal settles its holds. After this time, longer than any request, the drain does."""

MOST_SEEN = 1_000
"""Holds of journals whose first sight is remembered: far more than a process leaves behind that is killed."""


@dataclass(slots=True)
class Batch:
    """The intents of one round: those to post now, and those deferred to a later round."""

    queued: list[QueuedIntent] = field(default_factory=list)
    deferred: list[QueuedIntent] = field(default_factory=list)
    contended: set[str] = field(default_factory=set)
    """Accounts that somebody else had locked in this round."""
    spent: set[str] = field(default_factory=set)
    """Those of them whose retries are used up."""
    whole: bool = True
    """Whether the batch has every intent that precedes its last one in each outbox."""
    claimed: Mapping[str, Refusal] = field(default_factory=dict)
    """The refusals of intents whose external id another partition saw first, by payment id."""

    def part(self, some_units: Sequence[Sequence[QueuedIntent]]) -> Batch:
        """A batch of some of the intents. It is not whole, because others may precede them."""
        return Batch([one for unit in some_units for one in unit], whole=False, claimed=self.claimed)

    def account_ids(self) -> list[str]:
        """The accounts whose rows the posting changes, in the order in which they are locked."""
        return sorted({account_id for queued in self.queued for account_id in queued.account_ids})

    def partitions(self) -> list[int]:
        """The partitions whose chains the posting advances."""
        return sorted({queued.outbox_position.partition for queued in self.queued})

    def last_positions(self) -> dict[int, str]:
        """The stream id of the last intent from each partition."""
        return {queued.outbox_position.partition: queued.outbox_position.stream_id for queued in self.queued}

    def awaited(self) -> int:
        """How many of the intents to post have somebody who waits for them."""
        return sum([queued.intent.awaited for queued in self.queued])

    def defer(self, contended: set[str]) -> None:
        """Defer the intents that touch these accounts."""
        kept: list[QueuedIntent] = []
        for unit in units(self.queued):
            (self.deferred if _touches(unit, contended) else kept).extend(unit)
        self.queued = kept
        self.contended = contended
        self.whole = False

    def exhausted(self) -> list[QueuedIntent]:
        """The intents whose retries are used up."""
        return [queued for queued in self.deferred if not self.spent.isdisjoint(queued.account_ids)]


class OutboxReader:
    """Reads batches of up to `limit` intents that may be tried now."""

    def __init__(
        self,
        cache: Cache,
        contention: Contention,
        limit: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._cache = cache
        self._contention = contention
        self._limit = limit
        self._now_ms = now_ms
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
        self._first_seen_ms: dict[OutboxPosition, int] = {}
        """When holds of journals were seen whose stream ids lie ahead of the clock, and so do not tell their age."""
        self._ahead: tuple[Batch, Future[Batch]] | None = None
        """A batch, and the read of the one after it, which has begun already."""

    def read(self, partitions: Sequence[int], after: Mapping[int, str]) -> Batch:
        """The oldest intents of these partitions, without those whose accounts must not be tried yet.

        `after` gives the stream id after which to begin, for partitions that do not begin at their oldest intent.
        """
        return self._read(partitions, after, self._contention.waiting())

    def more_follow(self, batch: Batch) -> bool:
        """Whether more intents are likely to follow this batch, and can be read before it is trimmed."""
        return batch.whole and 2 * len(batch.queued) >= self._limit

    def read_next(self, batch: Batch, partitions: Sequence[int], after: Mapping[int, str]) -> Batch:
        """The batch after a full one. `after` gives the stream id at which that one, or an earlier batch, ends.

        If this batch is full too, the one after it is read in the background, for the next call.
        """
        ahead, self._ahead = self._ahead, None
        found = ahead[1].result() if ahead and ahead[0] is batch else self.read(partitions, after)
        if self.more_follow(found):
            after_found = {**after, **found.last_positions()}
            self._ahead = found, self._reader.submit(self._read, partitions, after_found, self._contention.waiting())
        return found

    def _read(self, partitions: Sequence[int], after: Mapping[int, str], waiting: set[str]) -> Batch:
        batch = Batch()
        for partition, (page, share) in self._first_pages(partitions, after).items():
            self._fill(batch, self._intents(partition, page, share), share, waiting)
        batch.whole = not batch.deferred
        batch.claimed = claimed_by_others(self._cache, batch.queued)
        return batch

    def _first_pages(
        self, partitions: Sequence[int], after: Mapping[int, str]
    ) -> dict[int, tuple[list[QueuedIntent], int]]:
        """The first page of each partition that has intents, and the share of the batch that the partition has.

        One round trip reads an equal share of each. What some partitions leave unused goes to those with more intents.
        """
        share = max(1, self._limit // len(partitions))
        pages = self._cache.outbox.read_many({partition: after.get(partition, "0") for partition in partitions}, share)
        full = {
            partition: page[-1].outbox_position.stream_id for partition, page in pages.items() if len(page) == share
        }
        left = self._limit - sum(map(len, pages.values()))
        more = left // len(full) if full else 0
        if more <= 0:
            return {partition: (page, share) for partition, page in pages.items() if page}
        further = self._cache.outbox.read_many(full, more)
        return {
            partition: (page + further[partition], share + more) if partition in full else (page, share)
            for partition, page in pages.items()
            if page
        }

    def _intents(self, partition: int, page: list[QueuedIntent], size: int) -> Iterator[QueuedIntent]:
        """The intents of a partition, from its first page on. Further pages are read when they are needed."""
        while True:
            yield from page
            if len(page) < size:
                return
            page = self._cache.outbox.read(partition, page[-1].outbox_position.stream_id, size)

    def _fill(self, batch: Batch, intents: Iterator[QueuedIntent], share: int, waiting: set[str]) -> None:
        """Add up to `share` intents to a batch. An atomic batch is added whole, even if it goes beyond the share."""
        added = 0
        for unit in units(intents):
            if self._is_being_posted(unit[0]) or (waiting and _touches(unit, waiting)):
                batch.deferred += unit
            else:
                batch.queued += unit
                added += len(unit)
            if added >= share:
                return

    def _is_being_posted(self, queued: QueuedIntent) -> bool:
        """Whether it is the hold of a journal that another process may still be posting."""
        if queued.intent.kind != Kind.JOURNAL_HOLD:
            return False
        now_ms, outbox_position = self._now_ms(), queued.outbox_position
        if outbox_position.stamped_ms <= now_ms:
            return now_ms - outbox_position.stamped_ms < JOURNAL_PATIENCE_MS
        if len(self._first_seen_ms) > MOST_SEEN:
            self._first_seen_ms.clear()
        return now_ms - self._first_seen_ms.setdefault(outbox_position, now_ms) < JOURNAL_PATIENCE_MS


def _touches(unit: Sequence[QueuedIntent], account_ids: set[str]) -> bool:
    return any(not account_ids.isdisjoint(queued.account_ids) for queued in unit)


def claimed_by_others(cache: Cache, queued: Sequence[QueuedIntent]) -> dict[str, Refusal]:
    """The refusals of intents whose external id another partition saw first, with other content; by payment id.

    Their senders have got this refusal. The intents must not be posted, nor keep the first payment from being posted.
    """
    claiming = [one for one in queued if one.intent.kind not in CONCLUSIONS]
    elsewhere = cache.reservations.claimed_elsewhere(list(by_partition(claiming).items()))
    if not elsewhere:
        return {}
    refused: dict[str, Refusal] = {}
    for one in claiming:
        first = elsewhere.get(one.key)
        if first is None or first == one.outbox_position.partition:
            continue
        record = cache.reservations.record(first, *one.key)
        if record is not None and not one.intent.has_fingerprint(record.fingerprint):
            refused[one.outbox_position.payment_id] = refuse_reused(one.intent, record.fingerprint)
    return refused


class Settler:
    """Settles rounds in order, one at a time. A round is settled only after the one before has succeeded."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._settler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="settle")
        self._settling: Future[None] | None = None
        self._posted_up_to: dict[int, str] = {}

    @property
    def posted_up_to(self) -> Mapping[int, str]:
        """Up to which stream id each outbox is posted but perhaps not trimmed yet; reading begins after it."""
        return self._posted_up_to

    def settle(self, settlements: Sequence[PartitionSettlement], *, in_background: bool) -> None:
        """Settle a round. Only one that trims its outboxes up to a position can be settled in the background.

        Raises the error of the round before; then this round is left to the next drain that reads the outbox.
        """
        self.finish()
        if not in_background:
            self._cache.outbox.settle_all(settlements)
            return
        self._settling = self._settler.submit(self._cache.outbox.settle_all, settlements)
        self._posted_up_to = {one.partition: one.done_up_to for one in settlements if one.done_up_to}

    def finish(self) -> None:
        """Wait for the round that is being settled; raises its error."""
        settling, self._settling, self._posted_up_to = self._settling, None, {}
        if settling is not None:
            settling.result()


@dataclass(slots=True)
class DrainReport:
    """What one round did, in payments."""

    posted: int = 0
    rejected: int = 0
    duplicates: int = 0
    deferred: int = 0
    conflicts: int = 0
    exhausted: int = 0
    awaited: int = 0
    """How many of them somebody waits for."""

    @property
    def settled(self) -> int:
        """How many payments left the outbox."""
        return self.posted + self.rejected + self.duplicates

    def add(self, other: DrainReport) -> None:
        """Add another round to this one."""
        self.posted += other.posted
        self.rejected += other.rejected
        self.duplicates += other.duplicates
        self.deferred += other.deferred
        self.conflicts += other.conflicts
        self.exhausted += other.exhausted
        self.awaited += other.awaited

    def count(self, plan: PostingPlan) -> None:
        """Count what a committed plan has done, and log what it rejected."""
        self.posted = len(plan.transactions) + len(plan.authorized) + len(plan.concluded)
        self.posted -= sum(authorization.state is AuthorizationState.CAPTURED for authorization in plan.concluded)
        self.posted += sum(posted for _, posted in plan.redelivered)
        self.rejected = len(plan.rejections) + sum(not posted for _, posted in plan.redelivered)
        self.duplicates = len(plan.duplicates)
        for rejection in plan.rejections:
            origin = rejection.queued.intent.origin
            log.error(
                "payment %s rejected: %s",
                rejection.queued.outbox_position.payment_id,
                rejection.refusal.detail,
                extra={"request_id": request_id_of(origin)} if origin is not None else None,
            )
