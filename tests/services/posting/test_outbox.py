"""What a round reads from the outboxes, and what is read ahead."""

from collections.abc import Mapping
from threading import Event
from typing import Any

import pytest

from app.domain.errors import CacheUnavailable
from app.services.posting.contention import Contention
from app.services.posting.outbox import Batch, OutboxReader
from tests.patience import PATIENCE_S
from tests.services.faults import Overridden
from tests.world import World

LIMIT = 8


class Counted:
    """A cache that counts the reads of its outboxes, and fails from read number `fails_from` on."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.reads = 0
        self.fails_from: int | None = None
        self.third_read = Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(Overridden(self._cache, read_many=self.read_many), name)

    def read_many(self, after: Mapping[int, str], limit: int) -> Any:
        self.reads += 1
        if self.fails_from is not None and self.reads >= self.fails_from:
            raise CacheUnavailable("gone")
        pages = self._cache.outbox.read_many(after, limit)
        if self.reads == 3:
            self.third_read.set()
        return pages


class Reading:
    """A reader of the outbox of one partition, which has this many payments of one account."""

    def __init__(self, world: World, payments: int) -> None:
        world.bank()
        world.account("alice", balance_minor=1_000)
        world.account("bob")
        self.ids = [world.accepted("alice", "bob", 1).outbox_position for _ in range(payments)]
        self.partitions = [self.ids[0].partition]
        self.cache = Counted(world.new_cache())
        self.contention = Contention(world.clock, lambda: 1.0)
        self.reader = OutboxReader(self.cache, self.contention, LIMIT)
        self.after: dict[int, str] = {}

    def first(self) -> Batch:
        return self.noted(self.reader.read(self.partitions, {}))

    def next(self, batch: Batch) -> Batch:
        return self.noted(self.reader.read_next(batch, self.partitions, dict(self.after)))

    def noted(self, batch: Batch) -> Batch:
        self.after |= batch.last_positions()
        return batch

    def expect(self, batch: Batch, start: int, end: int) -> None:
        assert [queued.outbox_position for queued in batch.queued] == self.ids[start:end]


def test_batches_follow_one_another_whether_they_were_read_ahead_or_not(world: World) -> None:
    reading = Reading(world, 3 * LIMIT + 3)
    batch = reading.first()
    for start in range(0, 4 * LIMIT, LIMIT):
        reading.expect(batch, start, start + LIMIT)
        batch = reading.next(batch)
    assert batch.queued == []


def test_the_batch_after_a_full_one_is_read_before_it_is_asked_for(world: World) -> None:
    reading = Reading(world, 3 * LIMIT)
    second = reading.next(reading.first())
    assert reading.cache.third_read.wait(timeout=PATIENCE_S)
    reading.expect(reading.next(second), 2 * LIMIT, 3 * LIMIT)


def test_a_batch_read_ahead_after_another_one_is_not_used(world: World) -> None:
    """The batch before it may have been given up, and then its intents are still in the outbox."""
    reading = Reading(world, 3 * LIMIT)
    reading.next(reading.first())
    reading.after.clear()
    again = reading.first()
    reading.expect(again, 0, LIMIT)
    reading.expect(reading.next(again), LIMIT, 2 * LIMIT)


def test_if_reading_ahead_failed_the_caller_who_asks_for_the_batch_gets_the_error(world: World) -> None:
    reading = Reading(world, 3 * LIMIT)
    reading.cache.fails_from = 3
    second = reading.next(reading.first())
    reading.expect(second, LIMIT, 2 * LIMIT)
    with pytest.raises(CacheUnavailable):
        reading.next(second)
    reading.cache.fails_from = None
    reading.expect(reading.next(second), 2 * LIMIT, 3 * LIMIT)


def test_nothing_is_read_ahead_after_a_batch_that_is_not_full_or_not_whole(world: World) -> None:
    reading = Reading(world, LIMIT + 3)
    second = reading.next(reading.first())
    assert len(second.queued) == 3
    reads = reading.cache.reads
    reading.contention.note(["alice"])
    deferred = reading.reader.read_next(second, reading.partitions, {})
    assert (deferred.queued, deferred.whole) == ([], False)
    assert reading.cache.reads == reads + 1
