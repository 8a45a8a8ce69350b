"""Payments over real servers: answers, replays, reuse, waiting, and the directory's freshness."""

import pytest

from app.domain.accounts import AccountType
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import OutboxPosition
from app.domain.read_models import PostedPayment
from app.domain.refusals import Refusal, RefusalCode
from app.domain.settlement import Notice
from app.services.payments.outcomes import Accepted, RefusedPayment
from tests.builders import PARTITIONS, account_in, payment
from tests.services.faults import Overridden
from tests.world import World


@pytest.fixture
def funded(world: World) -> World:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    return world


def test_the_same_request_again_is_the_same_payment(funded: World) -> None:
    first = funded.accepted("alice", "bob", 60, "order-1")
    again = funded.accepted("alice", "bob", 60, "order-1")
    assert (again.payment_id, again.replayed, again.funds) == (first.payment_id, True, first.funds)
    funded.drain()
    settled = funded.accepted("alice", "bob", 60, "order-1")
    assert (settled.payment_id, settled.replayed) == (first.payment_id, True)
    assert funded.booked("bob") == 60


@pytest.mark.parametrize(
    ("change", "field"),
    [({"amount_minor": 61}, "amount_minor"), ({"destination": "bank"}, "destination_account_id")],
)
def test_the_same_external_id_for_something_else_names_the_difference(
    funded: World, change: dict[str, object], field: str
) -> None:
    funded.accepted("alice", "bob", 60, "order-1")
    request: dict[str, object] = {"source": "alice", "destination": "bob", "amount_minor": 60} | change
    refusal = funded.refused(request["source"], request["destination"], request["amount_minor"], "order-1")  # type: ignore[arg-type]
    assert (refusal.code, refusal.figures["field"]) == (RefusalCode.EXTERNAL_ID_REUSED, field)


def test_a_refusal_explains_itself_and_stays(funded: World) -> None:
    refusal = funded.refused("alice", "bob", 101, "order-1")
    assert refusal.code == RefusalCode.INSUFFICIENT_FUNDS
    assert refusal.figures == {
        "account_id": "alice", "amount_minor": 101, "balance_minor": 100, "held_minor": 0, "floor_minor": 0,
        "available_minor": 100, "version": refusal.figures["version"],
    }  # fmt: skip
    funded.fund("alice", 500)
    again = funded.refused("alice", "bob", 101, "order-1")
    assert (again.code, again.figures, again.replayed) == (refusal.code, refusal.figures, True)
    found = funded.finder.find_by_external_id("default", "order-1")
    assert isinstance(found, RefusedPayment)


def test_a_stale_version_is_refused_with_the_current_one(funded: World) -> None:
    version = funded.warm("alice").funds.version
    funded.accepted("alice", "bob", 1, expected_version=version)
    refusal = funded.refused("alice", "bob", 1, expected_version=version)
    assert refusal.code == RefusalCode.OPTIMISTIC_LOCK_CONFLICT
    assert (refusal.figures["expected_version"], refusal.figures["current_version"]) == (version, version + 1)


def test_a_full_backlog_refuses_and_a_later_retry_of_the_same_succeeds(funded: World) -> None:
    funded.cache.client.backlog_limit = 2
    funded.accepted("alice", "bob", 1)
    funded.accepted("alice", "bob", 1)
    assert funded.refused("alice", "bob", 1, "order-3").code == RefusalCode.LEDGER_BACKLOGGED
    funded.drain()
    funded.accepted("alice", "bob", 1, "order-3")
    funded.drain()
    funded.assert_proven()


def test_a_batch_is_answered_in_its_order_whatever_its_partitions(world: World) -> None:
    world.bank()
    wallets = [world.account(account_in(partition, "w"), balance_minor=10) for partition in range(PARTITIONS)]
    wanted = [payment(wallets[n % 4], "bank", 6, external_id=f"x{n}") for n in range(8)] + [
        payment("nobody", "bank", 1, external_id="unknown")
    ]
    outcomes = world.payments.submit(wanted, "key:test")
    assert [isinstance(one, Accepted) for one in outcomes] == [True] * 4 + [False] * 5
    assert [one.intent.external_id for one in outcomes if isinstance(one, Accepted)] == ["x0", "x1", "x2", "x3"]
    assert isinstance(outcomes[8], Refusal)
    assert outcomes[8].code == RefusalCode.ACCOUNT_NOT_FOUND


def test_a_drain_is_woken_once_and_not_for_what_is_refused(funded: World) -> None:
    funded.wakes.clear()
    funded.refused("alice", "bob", 1_000)
    assert funded.wakes == []
    funded.accepted("alice", "bob", 1)
    funded.accepted("alice", "bob", 1)
    assert funded.wakes == ["drain"]


def test_an_overdraft_ends_at_its_limit_over_any_number_of_payments(world: World) -> None:
    world.bank()
    world.account("alice", overdraft_limit_minor=50)
    world.account("bob")
    for amount, accepted in ((30, True), (21, False), (20, True), (1, False)):
        assert isinstance(world.pay("alice", "bob", amount), Accepted) is accepted
    world.drain()
    assert world.booked("alice") == -50
    world.assert_proven()


def test_a_credit_is_spendable_only_once_it_is_in_the_ledger(funded: World) -> None:
    funded.accepted("alice", "bob", 100)
    assert funded.refused("bob", "alice", 1).code == RefusalCode.INSUFFICIENT_FUNDS
    funded.drain()
    funded.accepted("bob", "alice", 100)


def test_an_asset_with_a_floor_is_guarded_where_it_is_credited(world: World) -> None:
    world.bank()
    world.account("till", AccountType.ASSET, overdraft_limit_minor=0)
    world.accepted("till", "bank", 70)  # a debit raises an asset
    world.drain()
    assert world.refused("bank", "till", 71).code == RefusalCode.INSUFFICIENT_FUNDS
    world.accepted("bank", "till", 70)
    world.drain()
    assert world.booked("till") == 0
    world.assert_proven()


# Waiting


def test_a_waiter_is_told_when_its_payment_is_posted(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 10)

    def pending(outbox_position: OutboxPosition) -> object:
        """The ledger answers at the moment at which the waiter looks whether the payment is still pending."""
        found = funded.cache.outbox.pending(outbox_position)
        funded.waiting.hear(Notice(accepted.outbox_position.partition, up_to=accepted.outbox_position.stream_id))
        return found

    outcome = funded.new_payments(Overridden(funded.cache, pending=pending)).wait(accepted, 30)  # type: ignore[arg-type]
    assert isinstance(outcome, Accepted)
    assert outcome.posted


def test_an_answer_given_before_the_wait_began_is_found(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 10)
    funded.drain()
    outcome = funded.payments.wait(accepted, 30)
    assert isinstance(outcome, Accepted)
    assert outcome.posted


def test_a_wait_that_ends_without_news_leaves_the_payment_pending(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 10)
    outcome = funded.payments.wait(accepted, 0)
    assert isinstance(outcome, Accepted)
    assert not outcome.posted


def test_a_full_waiting_room_answers_at_once(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 10)
    outbox_positions = [funded.waiting.enter(accepted.outbox_position) for _ in range(8)]
    assert funded.waiting.enter(accepted.outbox_position) is None
    outcome = funded.payments.wait(accepted, 30)
    assert isinstance(outcome, Accepted)
    for outbox_position in outbox_positions:
        assert outbox_position is not None
        funded.waiting.leave(outbox_position)
    assert funded.waiting.enter(accepted.outbox_position) is not None


# Finding


def test_a_payment_is_found_at_every_moment_of_its_life(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 10, "order-1")
    assert isinstance(funded.finder.find(accepted.payment_id), QueuedIntent)
    assert isinstance(funded.finder.find_by_external_id("default", "order-1"), QueuedIntent)
    funded.drain()
    assert isinstance(funded.finder.find(accepted.payment_id), PostedPayment)
    assert isinstance(funded.finder.find_by_external_id("default", "order-1"), PostedPayment)
    assert funded.finder.find("pay_0_1_1") is None
    assert funded.finder.find("nonsense") is None
    assert funded.finder.find_by_external_id("default", "unknown") is None
    assert funded.finder.find_by_external_id("other", "order-1") is None


# One external id in two partitions: the guarded accounts differ, so no script sees both


@pytest.fixture
def two_partitions(world: World) -> tuple[World, str, str]:
    """Two funded wallets; the second lies in a partition that a drain takes first."""
    world.bank()
    later, earlier = (world.account(account_in(partition, "w"), balance_minor=100) for partition in (3, 0))
    return world, later, earlier


def test_an_external_id_used_in_two_partitions_posts_once(two_partitions: tuple[World, str, str]) -> None:
    world, first, second = two_partitions
    world.accepted(first, "bank", 10, "order-1")
    refusal = world.refused(second, "bank", 10, "order-1")
    assert (refusal.code, refusal.figures["field"]) == (RefusalCode.EXTERNAL_ID_REUSED, "source_account_id")
    world.drain()
    assert world.posted_external_ids().count("order-1") == 1
    world.assert_proven()


def test_only_the_acknowledged_use_of_an_external_id_posts(two_partitions: tuple[World, str, str]) -> None:
    world, acknowledged, refused = two_partitions
    accepted = world.accepted(acknowledged, "bank", 10, "order-1")
    world.refused(refused, "bank", 10, "order-1")
    world.drain()
    assert isinstance(world.finder.find(accepted.payment_id), PostedPayment)
    assert (world.booked(acknowledged), world.booked(refused)) == (90, 100)


def test_a_payment_refused_as_a_reuse_never_moves_money(two_partitions: tuple[World, str, str]) -> None:
    """The first use was refused for lack of funds, so the ledger has nothing of it that could stop the second."""
    world, poor, rich = two_partitions
    world.refused(poor, "bank", 101, "order-1")
    assert world.refused(rich, "bank", 10, "order-1").code == RefusalCode.EXTERNAL_ID_REUSED
    world.drain()
    assert world.booked(rich) == 100


def test_a_late_repeat_of_a_posted_payment_is_told_so_even_when_its_funds_are_spent(funded: World) -> None:
    """The cache has forgotten the payment, and the account could not pay it again."""
    first = funded.accepted("alice", "bob", 100, "late")
    funded.drain()
    funded.client.flushdb()
    again = funded.accepted("alice", "bob", 100, "late")
    assert (again.payment_id, again.replayed, again.posted) == (first.payment_id, True, True)
    funded.client.flushdb()
    refusal = funded.refused("alice", "bob", 99, "late")
    assert (refusal.code, refusal.figures["field"]) == (RefusalCode.EXTERNAL_ID_REUSED, "amount_minor")
    assert funded.booked("bob") == 100
