"""What a round of the drain takes from the outboxes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from app.domain.payments import Kind
from app.domain.posting import QueuedIntent, units
from app.domain.refusals import Refusal
from app.services.claims import claimed_by_others
from app.services.contention import Contention
from app.services.ports.funds import DrainFunds

JOURNAL_PATIENCE_MS = 30_000
"""A journal's hold is its maker's to settle. After this, longer than any request lives, it was left behind."""


@dataclass(slots=True)
class Batch:
    """The intents of one round: those to post now and those left for later."""

    queued: list[QueuedIntent] = field(default_factory=list)
    deferred: list[QueuedIntent] = field(default_factory=list)
    contended: set[str] = field(default_factory=set)
    """Accounts that somebody else had locked in this round."""
    spent: set[str] = field(default_factory=set)
    """Those of them whose retries are used up."""
    whole: bool = True
    """Whether the round's intents are all that stand before their last position."""
    claimed: Mapping[str, Refusal] = field(default_factory=dict)
    """Why those are refused whose external id another partition saw first, by payment id."""

    def part(self, units_of_it: Sequence[Sequence[QueuedIntent]]) -> "Batch":
        """Some of its intents to post; others stand before their last position."""
        return Batch([one for unit in units_of_it for one in unit], whole=False, claimed=self.claimed)

    def account_ids(self) -> list[str]:
        """The accounts whose rows the posting changes, in the order in which they are locked."""
        return sorted({account_id for queued in self.queued for account_id in queued.account_ids})

    def partitions(self) -> list[int]:
        """The partitions whose chains the posting advances."""
        return sorted({queued.place.partition for queued in self.queued})

    def last_positions(self) -> dict[int, str]:
        """The last position in each outbox that it takes from."""
        return {queued.place.partition: queued.place.position for queued in self.queued}

    def awaited(self) -> int:
        """For how many of the intents to post somebody waits."""
        return sum([queued.intent.awaited for queued in self.queued])

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


class Intake:
    """Reads batches of up to `limit` intents that may be tried now."""

    def __init__(
        self,
        funds: DrainFunds,
        contention: Contention,
        limit: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._funds = funds
        self._contention = contention
        self._limit = limit
        self._now_ms = now_ms
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
        self._ahead: tuple[Batch, Future[Batch]] | None = None

    def is_followed(self, batch: Batch) -> bool:
        """Whether another batch is likely to stand behind this one, and can be read before this one is trimmed."""
        return batch.whole and 2 * len(batch.queued) >= self._limit

    def read(self, partitions: Sequence[int], after: Mapping[int, str]) -> Batch:
        """The oldest intents of these partitions, passing over those whose accounts are locked.

        Where `after` has a position, those behind it.
        """
        return self._read(partitions, after, self._contention.waiting())

    def read_behind(self, batch: Batch, partitions: Sequence[int], after: Mapping[int, str]) -> Batch:
        """The batch that stands behind a full one; `after` is where that one ends, or others before it did.

        It was read already if it was asked for before. The one behind it is asked for now, if it is full too.
        """
        ahead, self._ahead = self._ahead, None
        found = ahead[1].result() if ahead and ahead[0] is batch else self.read(partitions, after)
        if self.is_followed(found):
            behind = {**after, **found.last_positions()}
            self._ahead = found, self._thread.submit(self._read, partitions, behind, self._contention.waiting())
        return found

    def _read(self, partitions: Sequence[int], after: Mapping[int, str], waiting: set[str]) -> Batch:
        batch = Batch()
        for partition, (page, share) in self._pages(partitions, after).items():
            self._take(self._outbox(partition, page, share), share, waiting, batch)
        batch.whole = not batch.deferred
        batch.claimed = claimed_by_others(self._funds, batch.queued)
        return batch

    def _pages(self, partitions: Sequence[int], after: Mapping[int, str]) -> dict[int, tuple[list[QueuedIntent], int]]:
        """The first page of each partition that has intents, and how many it may give.

        First an equal share of each in one round trip; what some leave of theirs goes to those that have more.
        """
        share = max(1, self._limit // len(partitions))
        pages = self._funds.outboxes({partition: after.get(partition, "0") for partition in partitions}, share)
        full = {partition: page[-1].place.position for partition, page in pages.items() if len(page) == share}
        left = self._limit - sum(map(len, pages.values()))
        more = left // len(full) if full else 0
        if more <= 0:
            return {partition: (page, share) for partition, page in pages.items() if page}
        further = self._funds.outboxes(full, more)
        return {
            partition: (page + further[partition], share + more) if partition in full else (page, share)
            for partition, page in pages.items()
            if page
        }

    def _take(self, outbox: Iterator[QueuedIntent], share: int, waiting: set[str], batch: Batch) -> None:
        """Take up to `share` intents; an atomic batch is taken whole, however many it has beyond the share."""
        taken = 0
        for unit in units(outbox):
            if self._is_in_hand(unit[0]) or (waiting and _touches(unit, waiting)):
                batch.deferred += unit
            else:
                batch.queued += unit
                taken += len(unit)
            if taken >= share:
                return

    def _is_in_hand(self, queued: QueuedIntent) -> bool:
        """Whether it is the hold of a journal that may still be on its way."""
        if queued.intent.kind != Kind.JOURNAL_HOLD:
            return False
        return self._now_ms() - queued.place.accepted_at_ms < JOURNAL_PATIENCE_MS

    def _outbox(self, partition: int, page: list[QueuedIntent], size: int) -> Iterator[QueuedIntent]:
        """The intents of a partition from its first page on; further ones are read as they are asked for."""
        while True:
            yield from page
            if len(page) < size:
                return
            page = self._funds.outbox(partition, page[-1].place.position, size)


def _touches(unit: Sequence[QueuedIntent], account_ids: set[str]) -> bool:
    return any(not account_ids.isdisjoint(queued.account_ids) for queued in unit)
