"""Draining over real servers: from the outbox into the ledger and back into the cache."""

import pytest

from app.domain.ledger_rows import QueuedIntent
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import RefusalCode
from tests import hot_state
from tests.builders import PARTITIONS, account_in
from tests.services.posting.notices import notices
from tests.services.tampering import void
from tests.world import World


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


def test_a_credit_changes_the_version_also_beside_the_end_of_an_authorization(world: World) -> None:
    """Whoever read the funds before the credit must not pass for one who knows them."""
    world.bank()
    payer, payee = (world.account(account_in(0, name), balance_minor=100) for name in ("payer", "payee"))
    authorized = world.accepted(payer, payee, 7, manual_capture=True, expires_in_s=3_600)
    world.drain()
    void(world, authorized.payment_id)
    world.accepted(payee, payer, 5)
    world.accepted(payer, payee, 1)  # stays pending: the cache is ahead of the ledger by it
    before = world.cached(payer).funds
    assert world.new_drain(batch_limit=2).run_once().settled == 2
    after = world.cached(payer).funds
    assert after.available_minor == before.available_minor + 5
    assert after.version > before.version
    world.drain()
    world.assert_proven()


def test_a_busy_partition_uses_the_share_that_idle_ones_leave(funded: World) -> None:
    for _ in range(25):
        funded.accepted("alice", "bob", 1)
    small = funded.new_drain(batch_limit=4 * PARTITIONS)
    with small.turn() as partitions:
        assert [small.round(partitions).posted for _ in range(3)] == [16, 9, 0]
    funded.assert_proven()


# What the ledger refuses


def test_the_ledger_rejects_what_a_wrong_cache_accepted_and_posts_the_rest(funded: World) -> None:
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
def test_halving_the_batch_finds_what_a_constraint_rejects_and_posts_the_rest(
    funded: World, unlucky: int | str
) -> None:
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
