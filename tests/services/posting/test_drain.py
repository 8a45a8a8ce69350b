"""Draining over real servers: the whole way, and everything that comes in its way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Barrier, Event, Thread, Timer
from typing import Any

import pytest

from app.cache import keys
from app.cache.notifications import decode_notices
from app.domain.errors import OutcomeUnknown
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import stream_id_order
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import RefusalCode
from app.domain.settlement import Notice
from app.services.payments.durable_wait import Answer, news_of
from app.services.posting.contention import LONGEST_DELAY_S, RETRIES
from app.services.posting.drain import Drain
from tests import hot_state
from tests.builders import PARTITIONS, account_in
from tests.patience import PATIENCE_S
from tests.services.faults import (
    Crashed,
    CrashPoints,
    InterruptedSession,
    Overridden,
    Stepped,
    SteppedSession,
    stepped_cache,
    with_backlog_of,
)
from tests.world import World


@pytest.fixture
def funded(world: World) -> World:
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    return world


def forget(world: World, external_id: str) -> None:
    """The idempotency window of an external id is over."""
    for partition in range(PARTITIONS):
        world.client.delete(
            keys.record(partition, "default", external_id), keys.claim(partition, "default", external_id)
        )


@contextmanager
def notices(world: World) -> Iterator[Callable[[], Notice]]:
    """Hear what waiters hear: the first notice of each message."""
    with world.client.pubsub() as listener:
        listener.subscribe(keys.SETTLED_CHANNEL)
        assert listener.get_message(timeout=PATIENCE_S)["type"] == "subscribe"
        yield lambda: decode_notices(listener.get_message(timeout=PATIENCE_S)["data"])[0]


# The whole way


def test_a_payment_goes_from_reserved_to_posted_and_settled(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 300, "order-1", description="lunch", metadata={"a": [1.5, "ü"]})
    pending = funded.finder.find(accepted.payment_id)
    assert isinstance(pending, QueuedIntent)
    assert (funded.cached("alice").funds.available_minor, funded.booked("alice")) == (700, 1_000)
    assert funded.warm("bob").funds.available_minor == 0  # spendable only once it is in the ledger

    report = funded.drain()

    assert (report.posted, report.rejected, report.deferred) == (1, 0, 0)
    posted = funded.finder.find(accepted.payment_id)
    assert isinstance(posted, PostedPayment)
    assert (posted.description, posted.metadata) == ("lunch", {"a": [1.5, "ü"]})
    assert (funded.booked("alice"), funded.booked("bob")) == (700, 300)
    assert funded.cached("alice").funds.held_minor == 0
    assert funded.cached("bob").funds.available_minor == 300
    funded.assert_proven()


def test_waiters_hear_that_everything_up_to_the_last_is_answered(funded: World) -> None:
    accepted = [funded.accepted("alice", "bob", 1) for _ in range(3)]
    with notices(funded) as heard:
        funded.drain()
        notice = heard()
    assert notice.partition == accepted[0].outbox_position.partition
    assert notice.up_to == accepted[-1].outbox_position.stream_id
    assert notice.refused == []


def test_an_empty_outbox_is_no_work(world: World) -> None:
    report = world.worker.run_once()
    assert (report.settled, report.deferred, report.conflicts) == (0, 0, 0)


def test_a_backlog_larger_than_a_batch_is_drained_in_several(funded: World) -> None:
    for _ in range(25):
        funded.accepted("alice", "bob", 1)
    small = funded.new_drain(batch_limit=10)
    assert [small.run_once().posted for _ in range(4)] == [10, 10, 5, 0]
    funded.assert_proven()


def test_payments_that_cross_partitions_both_ways_post_in_one_batch(world: World) -> None:
    world.bank()
    wallets = [world.account(account_in(partition, "w"), balance_minor=100) for partition in range(PARTITIONS)]
    for source in wallets:
        for destination in wallets:
            if source != destination:
                world.accepted(source, destination, 10)
    assert world.worker.run_once().posted == 12
    assert [world.booked(one) for one in wallets] == [100] * 4
    world.assert_proven()


# Once and only once


def test_a_batch_whose_settle_was_lost_is_settled_again_and_not_posted_again(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 300)
    dying = funded.new_drain(cache=Stepped(funded.new_cache(), CrashPoints(at=1), ("settle_all",)))
    with pytest.raises(Crashed, match="before settle_all"):
        dying.run_once()
    assert funded.booked("bob") == 300
    assert funded.cached("alice").funds.held_minor == 300  # safe meanwhile: too little is spendable, never too much

    report = funded.drain()

    assert (report.posted, report.rejected) == (1, 0)
    assert (funded.booked("alice"), funded.booked("bob")) == (700, 300)
    assert funded.rows("SELECT count(*) FROM ledger_transaction WHERE payment_id = %s", accepted.payment_id) == [(1,)]
    funded.assert_proven()


def test_a_batch_that_never_committed_is_posted_by_the_next(funded: World) -> None:
    funded.accepted("alice", "bob", 300)
    points = CrashPoints()
    rehearsal = SteppedSession(funded.new_posting_session(), points)
    assert funded.new_drain(ledger=rehearsal).run_once().posted == 1
    before_commit = points.passed.index("before commit") + 1

    funded.accepted("alice", "bob", 5)
    dying = funded.new_drain(ledger=SteppedSession(funded.new_posting_session(), CrashPoints(at=before_commit)))
    with pytest.raises(Crashed, match="before commit"):
        dying.run_once()
    assert funded.booked("bob") == 300
    funded.drain()
    assert funded.booked("bob") == 305
    funded.assert_proven()


def test_a_credit_reaches_the_cache_though_only_the_partition_of_its_payer_was_trimmed(world: World) -> None:
    world.bank()
    alice, dave = (world.account(account_in(partition, "payer"), balance_minor=100) for partition in (0, 1))
    bob, erin = (world.account(account_in(1, name)) for name in ("bob", "erin"))
    world.warm(bob)
    world.accepted(alice, bob, 10)
    world.accepted(dave, erin, 20)
    cache = world.new_cache()
    run, calls_made = cache.client.run, []

    def die_at_the_first_trim(calls: Any) -> Any:
        calls_made.append(calls)
        if len(calls_made) == 2:
            run(calls[:1])
            raise Crashed("after the first settle that trims")
        return run(calls)

    cache.client.run = die_at_the_first_trim  # type: ignore[method-assign]
    with pytest.raises(Crashed):
        world.new_drain(cache=cache).run_once()
    assert {partition: n for partition, n in world.cache.outbox.backlog().items() if n} == {1: 1}
    assert world.cached(bob).funds.available_minor == 10
    world.drain()
    world.assert_proven()


def test_an_answer_of_the_cache_that_never_came_is_made_up_for(funded: World) -> None:
    funded.accepted("alice", "bob", 300)

    def silent(*args: Any, **kwargs: Any) -> None:
        funded.cache.outbox.settle_all(*args, **kwargs)
        raise OutcomeUnknown("no answer in time")

    with pytest.raises(OutcomeUnknown):
        funded.new_drain(cache=Overridden(funded.cache, settle_all=silent)).run_once()
    funded.drain()
    assert funded.booked("bob") == 300
    funded.assert_proven()


def test_a_late_repeat_posts_nothing_and_leads_to_the_original(funded: World) -> None:
    original = funded.accepted("alice", "bob", 300, "order-1")
    funded.drain()
    forget(funded, "order-1")

    late = funded.accepted("alice", "bob", 300, "order-1")
    assert late.payment_id != original.payment_id
    assert funded.cached("alice").funds.held_minor == 300
    with notices(funded) as heard:
        assert funded.drain().duplicates == 1
        assert heard().refused == [late.outbox_position.stream_id]  # not posted under its own id: waiters look it up

    assert (funded.booked("bob"), funded.cached("alice").funds.held_minor) == (300, 0)
    found = funded.finder.find(late.payment_id)
    assert isinstance(found, PostedPayment)
    assert (found.payment_id, found.duplicate_of) == (original.payment_id, original.payment_id)
    again = funded.accepted("alice", "bob", 300, "order-1")
    assert (again.payment_id, again.replayed, again.posted) == (original.payment_id, True, True)
    funded.assert_proven()


def test_a_late_reuse_with_other_content_is_rejected_and_its_hold_released(funded: World) -> None:
    original = funded.accepted("alice", "bob", 300, "order-1")
    funded.drain()
    forget(funded, "order-1")

    late = funded.accepted("alice", "bob", 301, "order-1")
    assert funded.drain().rejected == 1

    assert (funded.booked("bob"), funded.cached("alice").funds.held_minor) == (300, 0)
    found = funded.finder.find(late.payment_id)
    assert isinstance(found, RejectedPayment)
    assert found.refusal.code == RefusalCode.EXTERNAL_ID_REUSED
    assert found.refusal.figures == {"field": "amount_minor", "payment_id": original.payment_id}
    again = funded.refused("alice", "bob", 301, "order-1")
    assert (again.code, again.replayed) == (RefusalCode.EXTERNAL_ID_REUSED, True)
    funded.assert_proven()


def test_what_the_ledger_refused_once_stays_refused_under_its_external_id(funded: World) -> None:
    funded.warm("alice")
    hot_state.put(funded.client, funded.account_key("alice"), balance=5_000)  # a cache that is wrong
    funded.accepted("alice", "bob", 4_000, "order-1")
    assert funded.drain().rejected == 1
    funded.lose_cache()
    funded.fund("alice", 9_000)

    funded.accepted("alice", "bob", 4_000, "order-1")  # the cache has forgotten it
    assert funded.drain().rejected == 1
    refusal = funded.refused("alice", "bob", 4_000, "order-1")
    assert refusal.code == RefusalCode.EXTERNAL_ID_REFUSED
    assert funded.booked("bob") == 0
    funded.assert_proven()


# Culprits


def test_the_ledger_guards_itself_against_a_cache_that_is_wrong_and_the_rest_posts(funded: World) -> None:
    funded.warm("alice")
    hot_state.put(funded.client, funded.account_key("alice"), balance=5_000)
    outcomes = [funded.accepted("alice", "bob", amount) for amount in (400, 4_000, 500)]
    with notices(funded) as heard:
        report = funded.drain()
        notice = heard()
    assert (report.posted, report.rejected) == (2, 1)
    assert (notice.up_to, notice.refused) == (
        outcomes[2].outbox_position.stream_id,
        [outcomes[1].outbox_position.stream_id],
    )
    rejected = funded.finder.find(outcomes[1].payment_id)
    assert isinstance(rejected, RejectedPayment)
    assert rejected.refusal.code == RefusalCode.INSUFFICIENT_FUNDS
    assert (funded.booked("alice"), funded.cached("alice").funds.balance_minor) == (100, 100)
    funded.assert_proven()


@pytest.mark.parametrize("unlucky", [0, 3, 8, "all"])
def test_what_a_constraint_rejects_is_found_by_halves_and_the_rest_posts(funded: World, unlucky: int | str) -> None:
    funded.owner.execute(
        "ALTER TABLE ledger_transaction ADD CONSTRAINT no_luck CHECK (description <> 'unlucky') NOT VALID"
    )
    wanted = [("unlucky" if unlucky in (n, "all") else "fine") for n in range(9)]
    outcomes = [funded.accepted("alice", "bob", 10, description=description) for description in wanted]

    report = funded.drain()

    fine = wanted.count("fine")
    assert (report.posted, report.rejected) == (fine, 9 - fine)
    assert funded.booked("bob") == 10 * fine
    for outcome, description in zip(outcomes, wanted, strict=True):
        found = funded.finder.find(outcome.payment_id)
        if description == "fine":
            assert isinstance(found, PostedPayment)
        else:
            assert isinstance(found, RejectedPayment)
            assert found.refusal.code == RefusalCode.REJECTED_BY_LEDGER
            assert found.refusal.figures == {"constraint": "no_luck"}
    funded.assert_proven()


# Two drains


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


def hasty(world: World) -> Any:
    """A clock that moves on at every look, so that nobody waits in earnest."""
    ticks = count()
    return lambda: next(ticks) * LONGEST_DELAY_S


def test_two_drains_on_one_partition_post_everything_exactly_once(funded: World) -> None:
    wanted = [funded.accepted("alice", "bob", 1, f"order-{n}") for n in range(120)]
    drain_until_empty(funded, *(funded.new_drain(batch_limit=7, clock=hasty(funded)) for _ in range(2)))
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
        world.new_drain(cache=with_backlog_of(world.new_cache(), half), batch_limit=5, clock=hasty(world))
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


class SlowCache:
    """A cache whose first settle waits until it is let go, and then may fail."""

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


def test_what_was_posted_after_a_settle_that_failed_is_left_to_the_next_drain(funded: World) -> None:
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


def test_what_idle_partitions_leave_of_their_share_goes_to_a_busy_one(funded: World) -> None:
    for _ in range(25):
        funded.accepted("alice", "bob", 1)
    small = funded.new_drain(batch_limit=4 * PARTITIONS)
    with small.turn() as partitions:
        assert [small.round(partitions).posted for _ in range(3)] == [16, 9, 0]
    funded.assert_proven()


def test_a_partition_that_somebody_is_draining_is_left_alone(funded: World) -> None:
    funded.accepted("alice", "bob", 1)
    with funded.new_posting_session().draining(range(PARTITIONS)):
        report = funded.worker.run_once()
    assert (report.settled, report.conflicts) == (0, 0)
    assert funded.drain().posted == 1


# Contention


def test_an_account_locked_elsewhere_is_deferred_counted_announced_and_posted_once_free(funded: World) -> None:
    funded.account("hot")
    free = [funded.accepted("alice", "bob", 10) for _ in range(2)]
    stuck = funded.accepted("alice", "hot", 5)
    free.append(funded.accepted("alice", "bob", 10))

    with notices(funded) as heard:
        with funded.connect() as other, other.transaction():
            other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
            report = funded.worker.run_once()
            assert (report.posted, report.deferred, report.exhausted) == (3, 1, 0)
            assert sorted(heard().done) == [one.outbox_position.stream_id for one in free]
            assert funded.conflicts() == {"hot": (1, 0)}
            assert funded.worker.run_once().conflicts == 0  # its delay is not over: it is not even tried
            assert funded.conflicts() == {"hot": (1, 0)}

            reports = []
            for _ in range(RETRIES - 1):
                funded.clock.now += LONGEST_DELAY_S
                reports.append(funded.worker.run_once())
            assert [one.exhausted for one in reports] == [0] * (RETRIES - 2) + [1]
            assert funded.conflicts() == {"hot": (RETRIES, 1)}
            exhausted = heard()
            assert (exhausted.exhausted, exhausted.done, exhausted.up_to) == ([stuck.outbox_position.stream_id], [], "")
            assert funded.cached("alice").funds.held_minor == 5  # still acknowledged, still held

        funded.clock.now += LONGEST_DELAY_S
        assert funded.worker.run_once().posted == 1
        assert news_of(heard()).answer(stream_id_order(stuck.outbox_position.stream_id)) is Answer.POSTED
    assert (funded.booked("hot"), funded.booked("bob")) == (5, 30)
    funded.assert_proven()


def test_what_touches_a_locked_account_keeps_its_place_while_later_ones_pass_it(funded: World) -> None:
    funded.account("hot")
    funded.account("carol", balance_minor=100)
    first = funded.accepted("alice", "hot", 5)
    for _ in range(12):
        funded.accepted("alice", "bob", 1)
    small = funded.new_drain(batch_limit=4)  # so that later rounds pass over what an earlier one found locked
    with funded.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
        while small.run_once().settled:
            pass
        assert funded.booked("bob") == 12
        assert [one.outbox_position.stream_id for one in funded.cache.outbox.read(first.outbox_position.partition)] == [
            first.outbox_position.stream_id
        ]
    funded.clock.now += LONGEST_DELAY_S
    funded.drain(small)
    funded.assert_proven()


def test_a_row_changed_under_the_posting_is_tried_again_and_counted_by_account(funded: World) -> None:
    funded.accepted("alice", "bob", 10)
    interruptions = iter(["alice", "bob"])

    def change() -> None:
        account_id = next(interruptions, None)
        if account_id:
            funded.owner.execute("UPDATE account_balance SET updated_at = now() WHERE account_id = %s", (account_id,))

    drain = funded.new_drain(ledger=InterruptedSession(funded.new_posting_session(), change))
    report = drain.run_once()
    assert (report.posted, report.conflicts) == (1, 2)
    assert funded.conflicts() == {"alice": (1, 0), "bob": (1, 0)}
    assert len(funded.clock.slept) == 2
    funded.assert_proven()


def test_conflicts_without_end_are_given_up_announced_and_counted_and_nothing_is_lost(funded: World) -> None:
    stuck = funded.accepted("alice", "bob", 10)

    def change() -> None:
        funded.owner.execute("UPDATE account_balance SET updated_at = now() WHERE account_id = 'alice'")

    drain = funded.new_drain(ledger=InterruptedSession(funded.new_posting_session(), change))
    with notices(funded) as heard:
        report = drain.run_once()
        assert heard().exhausted == [stuck.outbox_position.stream_id]
    assert (report.posted, report.conflicts, report.exhausted) == (0, RETRIES, 1)
    assert funded.conflicts() == {"alice": (RETRIES, 1)}
    assert funded.clock.slept == sorted(funded.clock.slept)
    assert funded.drain().posted == 1
    funded.assert_proven()


# Crashes


def scenario(world: World, number: int) -> list[str]:
    """Payments of every kind for one drain: posted, rejected, repeated late, crossing partitions both ways.

    Returns the external ids that must be in the ledger once.
    """
    world.warm("alice")
    spend = [world.accepted("alice", "bob", 3, f"spend-{number}"), world.accepted("bob", "alice", 2, f"back-{number}")]
    world.accepted("bank", "carol", 4, f"fund-{number}")
    hot_state.add(world.client, world.account_key("alice"), balance=10_000_000)
    world.accepted("alice", "bob", 9_000_000, f"culprit-{number}")
    forget(world, f"spend-{number - 1}")
    world.pay("alice", "bob", 3, f"spend-{number - 1}")
    assert len(spend) == 2
    return [f"spend-{number}", f"back-{number}", f"fund-{number}"]


def test_a_crash_at_any_step_leaves_a_ledger_that_a_fresh_drain_makes_whole(world: World) -> None:
    world.bank()
    for name in ("alice", "bob", "carol"):
        world.account(name, balance_minor=1_000)
    points = CrashPoints()
    expected = set(world.posted_external_ids())

    def stepped(one: CrashPoints) -> Drain:
        return world.new_drain(
            cache=stepped_cache(world.new_cache(), one), ledger=SteppedSession(world.new_posting_session(), one)
        )

    expected |= set(scenario(world, 1)) | {"spend-0"}
    stepped(points).run_once()
    world.assert_proven()
    assert {"before commit", "after commit", "before settle_all", "after settle_all", "after write"} <= set(
        points.passed
    )
    assert points.passed.count("after scripts") == 2  # first the settles that trim nothing

    for at in range(1, len(points.passed) + 1):
        expected |= set(scenario(world, at + 1))
        with pytest.raises(Crashed):
            stepped(CrashPoints(at)).run_once()
        world.drain(world.new_drain())
        world.assert_proven()
    posted = world.posted_external_ids()
    assert sorted(posted) == sorted(expected)
    assert world.booked("bob") == 1_000 + 3 + len(points.passed) + 1
