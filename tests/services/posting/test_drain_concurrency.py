"""Several drains at work, and a drain that settles one round while it posts the next."""

from threading import Barrier, Event, Thread, Timer
from typing import Any

import pytest

from app.domain.errors import OutcomeUnknown
from app.services.posting.drain import Drain
from tests.builders import PARTITIONS, account_in
from tests.patience import PATIENCE_S
from tests.services.faults import (
    InterruptedSession,
    Overridden,
    with_backlog_of,
)
from tests.services.load import skipping_delays
from tests.world import World


def drain_until_empty(world: World, *drains: Drain) -> None:
    """Let drains work side by side, each in its thread, until the outbox is empty."""
    barrier, failures = Barrier(len(drains)), []

    def work(drain: Drain) -> None:
        try:
            barrier.wait()
            while any(drain.cache.outbox.backlog().values()):
                drain.run_once()
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=work, args=(drain,)) for drain in drains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


def test_two_drains_on_one_partition_post_everything_exactly_once(funded: World) -> None:
    wanted = [funded.accepted("alice", "bob", 1, f"order-{n}") for n in range(120)]
    drain_until_empty(funded, *(funded.new_drain(batch_limit=7, clock=skipping_delays()) for _ in range(2)))
    assert funded.booked("bob") == 120
    posted = funded.posted_external_ids()
    assert len(posted) == len(set(posted)) == len(wanted) + 1
    funded.assert_proven()


def test_a_hot_merchant_is_credited_from_all_partitions_by_two_drains_at_once(world: World) -> None:
    world.bank()
    merchant = world.account("merchant")
    customers = [world.account(account_in(partition, "customer"), balance_minor=100) for partition in range(PARTITIONS)]
    for _ in range(40):
        for customer in customers:
            world.accepted(customer, merchant, 1)
    halves = ({0, 1}, {2, 3})
    drains = [
        world.new_drain(cache=with_backlog_of(world.new_cache(), half), batch_limit=5, clock=skipping_delays())
        for half in halves
    ]
    drain_until_empty(world, *drains)
    assert world.booked(merchant) == 160
    assert [world.booked(customer) for customer in customers] == [60] * 4
    world.assert_proven()


def test_a_turn_of_many_rounds_keeps_other_drains_away_until_it_ends(funded: World) -> None:
    other = funded.new_drain()
    with funded.worker.turn() as partitions:
        assert partitions == list(range(PARTITIONS))
        assert funded.worker.round(partitions).settled == 0
        for _ in range(2):
            funded.accepted("alice", "bob", 1)
            with other.turn() as none:
                assert none == []
            assert funded.worker.round(partitions).posted == 1
    with other.turn() as partitions:
        assert partitions == list(range(PARTITIONS))
    funded.assert_proven()


def test_a_partition_that_another_drain_holds_is_left_alone(funded: World) -> None:
    funded.accepted("alice", "bob", 1)
    with funded.new_posting_session().draining(range(PARTITIONS)):
        report = funded.worker.run_once()
    assert (report.settled, report.conflicts) == (0, 0)
    assert funded.drain().posted == 1


# Rounds of a turn


class SlowCache:
    """A cache whose first settle waits for `let_go`, and then may fail."""

    def __init__(self, cache: Any, fault: Exception | None = None) -> None:
        self._cache, self._fault = cache, fault
        self.let_go, self.settled = Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(Overridden(self._cache, settle_all=self.settle_all), name)

    def settle_all(self, settlements: Any) -> None:
        assert self.let_go.wait(timeout=PATIENCE_S)
        self.settled += 1
        if self._fault is not None and self.settled == 1:
            raise self._fault
        self._cache.outbox.settle_all(settlements)


def test_a_round_is_posted_while_the_one_before_is_still_being_settled(funded: World) -> None:
    for _ in range(11):
        funded.accepted("alice", "bob", 1)
    slow = SlowCache(funded.new_cache())
    settled_before: list[int] = []

    def look() -> None:
        settled_before.append(slow.settled)
        if len(settled_before) == 2:
            slow.let_go.set()

    ledger = InterruptedSession(funded.new_posting_session(), look)
    drain = funded.new_drain(cache=slow, ledger=ledger, batch_limit=8)
    with drain.turn() as partitions:
        assert drain.round(partitions).posted == 8
        assert drain.round(partitions).posted == 3  # read after the first eight, which were not trimmed yet
        assert settled_before == [0, 0]
        assert slow.settled == 2
        assert drain.round(partitions).settled == 0
    funded.assert_proven()


def test_the_next_drain_settles_what_was_posted_after_a_failed_settle(funded: World) -> None:
    for _ in range(12):
        funded.accepted("alice", "bob", 1)
    slow = SlowCache(funded.new_cache(), OutcomeUnknown("no answer in time"))
    slow.let_go.set()
    drain = funded.new_drain(cache=slow, batch_limit=8)

    def two_rounds() -> None:
        with drain.turn() as partitions:
            assert drain.round(partitions).posted == 8
            drain.round(partitions)

    with pytest.raises(OutcomeUnknown):
        two_rounds()
    assert funded.booked("bob") == 12
    assert (slow.settled, sum(funded.cache.outbox.backlog().values())) == (1, 12)
    assert funded.drain(drain).posted == 12  # in the ledger already: only settled
    assert funded.booked("bob") == 12
    funded.assert_proven()


def test_a_turn_ends_only_when_its_last_round_is_settled(funded: World) -> None:
    for _ in range(8):
        funded.accepted("alice", "bob", 1)
    slow = SlowCache(funded.new_cache())
    drain = funded.new_drain(cache=slow, batch_limit=8)
    with drain.turn() as partitions:
        drain.round(partitions)
        Timer(0.2, slow.let_go.set).start()
    assert sum(funded.cache.outbox.backlog().values()) == 0
    funded.assert_proven()
