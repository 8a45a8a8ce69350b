"""Atomic batches: all payments or none, within one guarded account's partition."""

from typing import Any

import pytest

from app.domain.payment import DEFAULT_PARTITIONS
from tests import hot_state
from tests.api.world import payment
from tests.batches.world import BANK, BatchWorld


def test_an_atomic_batch_accepts_all(world: BatchWorld) -> None:
    alice, bob = world.neighbours(2, 100)
    world.account("shop")
    payments = [payment(alice, "shop", 60), payment(bob, "shop", 100), payment(alice, "shop", 40)]
    items = world.batch(payments, atomic=True)
    assert [item["status"] for item in items] == [201, 201, 201]
    again = world.batch(payments, atomic=True)
    assert [item["status"] for item in again] == [200, 200, 200]
    assert [item["payment"] for item in again] == [item["payment"] for item in items]
    world.assert_proven()
    assert world.balance("shop")["balance_minor"] == 200


def test_an_atomic_batch_of_which_one_fails_leaves_no_trace_and_names_it(world: BatchWorld) -> None:
    alice, bob = world.neighbours(2, 100)
    world.account("shop")
    payments = [payment(alice, "shop", 60), payment(bob, "shop", 1), payment(alice, "shop", 41), payment(bob, "shop")]
    before = world.traces()
    items = world.batch(payments, atomic=True)
    assert world.traces() == before
    assert [item["problem"]["code"] for item in items] == [
        "linked_payment_failed",
        "linked_payment_failed",
        "insufficient_funds",
        "linked_payment_failed",
    ]
    assert {item["problem"]["failed_index"] for item in items} == {2}
    assert items[2]["problem"]["available_minor"] == 40, "after the payments before it"
    assert items[0]["problem"]["failed_code"] == "insufficient_funds"
    assert items[0]["problem"]["retryable"] is True


def test_an_atomic_batch_that_failed_succeeds_once_the_funds_are_there(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    payments = [payment(alice, "shop", 60), payment(alice, "shop", 60)]
    assert [item["status"] for item in world.batch(payments, atomic=True)] == [409, 422]
    world.deposit(alice, 20)
    world.drained()
    assert [item["status"] for item in world.batch(payments, atomic=True)] == [201, 201]
    world.assert_proven()
    assert world.balance(alice)["balance_minor"] == 0


def test_a_repeat_after_the_idempotency_window_answers_what_the_ledger_has(world: BatchWorld) -> None:
    """Also if the funds have gone since: nothing fails that was done."""
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    payments = [payment(alice, "shop", 60), payment(alice, "shop", 40)]
    items = world.batch(payments, atomic=True)
    world.drained()
    for one in payments:
        hot_state.forget_external_id(world.cache, one["external_id"], DEFAULT_PARTITIONS)
    again = world.batch(payments, atomic=True)
    assert [item["status"] for item in again] == [200, 200]
    assert [item["payment"]["payment_id"] for item in again] == [item["payment"]["payment_id"] for item in items]
    fresh = world.batch([*payments, payment(alice, "shop", 1)], atomic=True)
    assert [item["problem"]["code"] for item in fresh] == [
        "linked_payment_failed", "linked_payment_failed", "insufficient_funds",
    ]  # fmt: skip
    world.assert_proven()


def test_guarded_accounts_in_several_partitions_refuse_every_payment(world: BatchWorld) -> None:
    names = [world.funded(f"payer-{n}", 100) for n in range(4)]
    world.account("shop")
    items = world.batch([payment(name, "shop", 1) for name in names], atomic=True)
    assert {(item["status"], item["problem"]["code"]) for item in items} == {(422, "batch_crosses_partitions")}


@pytest.mark.parametrize(
    ("culprit", "code"),
    [
        ({}, "malformed_request"),
        (payment("nobody", "shop"), "account_not_found"),
        (payment("shop", "shop"), "accounts_equal"),
    ],
)
def test_a_payment_that_cannot_be_read_or_prepared_fails_the_whole_batch(
    world: BatchWorld, culprit: Any, code: str
) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    before = world.traces()
    items = world.batch([payment(alice, "shop", 1), culprit], atomic=True)
    assert [item["problem"]["code"] for item in items] == ["linked_payment_failed", code]
    assert {item["problem"]["failed_index"] for item in items} == {1}
    assert world.traces() == before


def test_a_payment_refused_alone_before_fails_the_batch_as_a_replay(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    refused = payment(alice, "shop", 101)
    world.post("/v1/payments", refused)
    items = world.batch([payment(alice, "shop", 1), refused], atomic=True)
    assert [item["problem"]["code"] for item in items] == ["linked_payment_failed", "insufficient_funds"]
    assert items[1]["replayed"] is True
    assert world.balance(alice)["held_minor"] == 0


def test_a_payment_accepted_alone_before_counts_as_done(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    accepted = payment(alice, "shop", 60)
    world.post("/v1/payments", accepted)
    items = world.batch([accepted, payment(alice, "shop", 40)], atomic=True)
    assert [item["status"] for item in items] == [200, 201]


def test_an_external_id_twice_in_an_atomic_batch_is_a_replay_or_fails_it(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    once = payment(alice, "shop", 10)
    other = once | {"amount_minor": 11}
    items = world.batch([once, other], atomic=True)
    assert [item["problem"]["code"] for item in items] == ["linked_payment_failed", "external_id_reused"]
    items = world.batch([once, once], atomic=True)
    assert [item["status"] for item in items] == [201, 200]
    assert items[0]["payment"] == items[1]["payment"]


def test_an_external_id_of_another_partition_fails_the_batch(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    deposit = payment(BANK, alice, 5)
    world.post("/v1/payments", deposit)
    before = world.traces()
    reused = payment(alice, "shop", 5, external_id=deposit["external_id"])
    items = world.batch([payment(alice, "shop", 1), reused], atomic=True)
    assert [item["problem"]["code"] for item in items] == ["linked_payment_failed", "external_id_reused"]
    assert world.traces() == before


def test_an_atomic_batch_over_cold_accounts_and_a_lost_cache_is_decided_whole(world: BatchWorld) -> None:
    accounts = world.neighbours(5, 100)
    world.account("shop")
    world.cache.flushdb()
    items = world.batch([payment(account, "shop", 100) for account in accounts], atomic=True)
    assert {item["status"] for item in items} == {201}
    world.assert_proven()
    assert world.balance("shop")["balance_minor"] == 500


def test_an_expected_version_that_has_passed_fails_the_whole_batch(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    version = world.balance(alice)["version"]
    stale = [payment(alice, "shop", 1), payment(alice, "shop", 1, expected_version=version)]
    items = world.batch(stale, atomic=True)
    assert [item["problem"]["code"] for item in items] == ["linked_payment_failed", "optimistic_lock_conflict"]
    stale[1]["expected_version"] = version + 1
    assert [item["status"] for item in world.batch(stale, atomic=True)] == [201, 201]


def test_an_atomic_dry_run_says_what_would_be_and_leaves_no_trace(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    before = world.traces()
    good = world.batch([payment(alice, "shop", 60), payment(alice, "shop", 40)], "?dry_run=true", atomic=True)
    assert [(item["status"], item["payment"]["funds"]["available_minor"]) for item in good] == [(200, 40), (200, 0)]
    bad = world.batch([payment(alice, "shop", 60), payment(alice, "shop", 41)], "?dry_run=true", atomic=True)
    assert [item["problem"]["code"] for item in bad] == ["linked_payment_failed", "insufficient_funds"]
    assert world.traces() == before


def test_the_intents_of_an_atomic_batch_are_linked_and_stand_together(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 1_000)
    world.account("shop")
    world.batch([payment(alice, "shop", 1)])
    world.batch([payment(alice, "shop", 1) for _ in range(300)], atomic=True)
    world.batch([payment(alice, "shop", 1)])
    groups = [queued.intent.linked for queued in world.drain.cache.outbox.read(3)]
    assert groups[0] is None
    assert groups[-1] is None
    assert len(set(groups[1:-1])) == 1
    assert len(groups) == 302


def test_a_refusal_without_a_script_rests_on_facts_as_new_as_the_scripts(world: BatchWorld) -> None:
    names = [world.funded(f"payer-{n}", 100) for n in range(4)]
    world.account("shop")
    payments = [payment(name, "shop", 1) for name in names]
    assert {item["problem"]["code"] for item in world.batch(payments, atomic=True)} == {"batch_crosses_partitions"}
    world.set_status("shop", "frozen")
    items = world.batch(payments, atomic=True)
    assert items[0]["problem"]["code"] == "account_frozen"
    assert {item["problem"]["code"] for item in items[1:]} == {"linked_payment_failed"}
