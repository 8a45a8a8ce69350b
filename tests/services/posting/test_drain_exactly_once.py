"""Every payment is posted once, whatever is lost, repeated or broken off."""

from typing import Any

import pytest

from app.domain.errors import OutcomeUnknown
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import RefusalCode
from app.services.posting.drain import Drain
from tests import hot_state
from tests.builders import account_in
from tests.services.faults import (
    Crashed,
    CrashPoints,
    Overridden,
    Stepped,
    SteppedSession,
    stepped_cache,
)
from tests.services.posting.notices import notices
from tests.world import World


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


def test_a_batch_that_never_committed_is_posted_by_the_next_drain(funded: World) -> None:
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


def test_a_settle_without_an_answer_is_repeated_by_the_next_drain(funded: World) -> None:
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
    hot_state.forget_external_id(funded.client, "order-1")

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
    hot_state.forget_external_id(funded.client, "order-1")

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


def test_an_external_id_that_the_ledger_rejected_stays_refused(funded: World) -> None:
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
    hot_state.forget_external_id(world.client, f"spend-{number - 1}")
    world.pay("alice", "bob", 3, f"spend-{number - 1}")
    assert len(spend) == 2
    return [f"spend-{number}", f"back-{number}", f"fund-{number}"]


def test_after_a_crash_at_any_step_a_fresh_drain_completes_the_ledger(world: World) -> None:
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
