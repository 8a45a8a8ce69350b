"""Hydration, whatever happens at the same time; and the loss of the whole cache."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.domain.read_models import PostedPayment
from app.domain.refusals import RefusalCode
from app.services.accounts.hydration import Balances
from app.services.payments.outcomes import Accepted
from tests.builders import PARTITIONS, account_in, payment
from tests.patience import until
from tests.services.faults import Hooked
from tests.world import World

CALLERS = 8


@pytest.fixture
def cold(world: World) -> World:
    """Alice has 100 in the ledger and is cold; 50 more for her wait in the outbox."""
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    world.accepted("bank", "alice", 50)
    world.client.delete(world.account_key("alice"))
    return world


RACES = [
    ("set_placeholders", "before"),
    ("set_placeholders", "after"),
    ("balances_for_hydration", "after"),
    ("hydrate", "after"),
]


@pytest.mark.parametrize(("call", "when"), RACES, ids=[f"{when} {call}" for call, when in RACES])
def test_a_settle_at_any_moment_of_hydrating_leaves_the_ledgers_latest_balance(
    cold: World, call: str, when: str
) -> None:
    settle = {when: cold.drain}
    cache = Hooked(cold.cache, call, **settle) if call != "balances_for_hydration" else cold.cache
    ledger = Hooked(cold.ledger_accounts, call, **settle) if call == "balances_for_hydration" else cold.ledger_accounts

    Balances(cache, ledger, cold.directory).hydrate(["alice"])

    cached = cold.cached("alice")
    assert (cached.funds.balance_minor, cached.entry_count) == (150, 2)
    assert cold.booked("alice") == 150
    cold.assert_proven()


def test_a_payment_reserved_while_another_process_hydrates_keeps_its_hold(cold: World) -> None:
    def another_process() -> None:
        cold.new_payments().submit([payment("alice", "bob", 60, external_id="meanwhile")], "key:test")

    Balances(Hooked(cold.cache, "hydrate", before=another_process), cold.ledger_accounts, cold.directory).hydrate(
        ["alice"]
    )
    assert cold.cached("alice").funds.held_minor == 60
    cold.drain()
    assert cold.booked("alice") == 90
    cold.assert_proven()


def test_reading_a_cold_balance_warms_it(cold: World) -> None:
    assert cold.cache.accounts.balance("alice") is None
    found = cold.balances.get("alice")
    assert found is not None
    assert found.cached.funds.balance_minor == 100
    assert cold.cached("alice") == found.cached


def test_an_unknown_account_has_no_balance_and_leaves_no_trace(world: World) -> None:
    assert world.balances.get("nobody") is None
    assert list(world.client.scan_iter()) == []


def test_after_the_loss_of_the_cache_all_funds_are_what_the_ledger_says(world: World) -> None:
    world.bank()
    names = [
        world.account(account_in(partition, "w"), balance_minor=100 + partition) for partition in range(PARTITIONS)
    ]
    world.account("overdrawn", overdraft_limit_minor=500)
    world.accepted("overdrawn", names[0], 300)
    world.drain()
    before = {name: world.warm(name).funds for name in [*names, "overdrawn", "bank"]}

    world.lose_cache()

    balances = world.new_payment_services().balances
    assert {name: balances.get(name).cached.funds for name in before} == before  # type: ignore[union-attr]
    world.assert_proven()


def test_threads_that_hydrate_at_the_same_time_share_a_query(world: World) -> None:
    world.bank()
    names = [world.account(f"w{number}", balance_minor=100 + number) for number in range(CALLERS)]
    shared = world.account("shared", balance_minor=7)
    world.accepted("bank", shared, 1, "on its way")
    world.lose_cache()
    asked: list[Sequence[str]] = []

    class Ledger:
        """The ledger, whose first answer comes when all other callers are queued."""

        def balances_for_hydration(self, account_ids: Sequence[str]) -> Any:
            asked.append(account_ids)
            if len(asked) == 1:
                until(lambda: balances.hydrations.waiting == CALLERS - 1)
            return world.ledger_accounts.balances_for_hydration(account_ids)

    balances = Balances(world.cache, Ledger(), world.directory)
    with ThreadPoolExecutor(CALLERS) as threads:
        found = list(threads.map(lambda name: balances.hydrate([name, shared]), names))
    assert [[one.funds.balance_minor for one in both] for both in found] == [
        [100 + number, 7] for number in range(CALLERS)
    ]
    assert sorted(map(len, asked)) == [2, CALLERS]
    world.drain()
    world.assert_proven()


def test_payments_go_on_right_after_the_loss_of_the_cache(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    before = world.accepted("alice", "bob", 30, "order-1")
    world.drain()
    world.lose_cache()

    assert world.refused("alice", "bob", 71).code == RefusalCode.INSUFFICIENT_FUNDS
    after = world.accepted("alice", "bob", 70)
    assert after.payment_id != before.payment_id
    world.drain()
    assert (world.booked("alice"), world.booked("bob")) == (0, 100)
    world.assert_proven()


def test_new_payment_ids_follow_the_old_ones_even_if_the_new_cache_has_a_slow_clock(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    partition = world.cache.partition_of("alice")
    future = "9999999999999-7"
    world.tamper(f"UPDATE partition SET last_position = '{future}' WHERE partition = {partition}")
    world.lose_cache()
    assert world.accepted("alice", "bob", 1).outbox_position.stream_id == "10000000000000-1"  # an unused millisecond


def test_a_lost_pending_payment_is_made_again_by_its_retry_and_posts_once(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    world.accepted("alice", "bob", 30, "order-1")
    world.lose_cache()
    assert world.warm("alice").funds.available_minor == 100  # a lost hold makes no money
    world.accepted("alice", "bob", 30, "order-1")
    world.drain()
    assert world.booked("bob") == 30
    world.assert_proven()


def test_a_posted_payment_that_is_retried_after_the_loss_of_the_cache_posts_once(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    original = world.accepted("alice", "bob", 30, "order-1")
    world.drain()
    world.lose_cache()
    retried = world.accepted("alice", "bob", 30, "order-1")
    world.drain()
    found = world.finder.find(retried.payment_id)
    assert isinstance(found, PostedPayment)
    assert found.payment_id == original.payment_id
    assert world.booked("bob") == 30
    world.assert_proven()


def test_a_posted_payment_is_never_answered_with_insufficient_funds(world: World) -> None:
    """The window is over and the money is spent: the retry's answer must still be the payment, not a refusal."""
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    original = world.accepted("alice", "bob", 100, "order-1")
    world.drain()
    world.lose_cache()
    outcome = world.pay("alice", "bob", 100, "order-1")
    assert isinstance(outcome, Accepted)
    assert (outcome.payment_id, outcome.posted) == (original.payment_id, True)
