"""An atomic batch in the ledger: posted whole or rejected whole, and never read in part."""

from typing import Any

from app.cache import keys
from app.domain.hash_chain import transactions_from
from app.domain.ledger_rows import KnownOutcome, PostingPlan, QueuedIntent, units
from app.domain.posting_plan import plan_posting
from app.domain.refusals import Refusal, RefusalCode
from app.wiring.workers import build_drain
from tests import hot_state
from tests.api.world import payment
from tests.batches.world import BANK, BatchWorld
from tests.builders import NOON, heads, intent, queued, rows, wallet


def linked(sequence: int, amount_minor: int = 10, group: str | None = "g", **more: Any) -> QueuedIntent:
    return queued(sequence, intent(amount_minor=amount_minor, external_id=f"e{sequence}", linked=group, **more))


def planned(batch: list[QueuedIntent], balance_minor: int, known: Any = None, **more: Any) -> PostingPlan:
    balances = rows(wallet("alice", balance_minor), wallet("bob"))
    return plan_posting(batch, known or {}, set(), balances, heads(), NOON, **more)


def posted(plan: PostingPlan) -> list[str]:
    return [transaction.external_id for transaction in transactions_from(plan.transactions, plan.entries)]


def rejected(plan: PostingPlan) -> dict[str, RefusalCode]:
    return {one.queued.intent.external_id: one.refusal.code for one in plan.rejections}


def test_an_atomic_batch_is_posted_whole() -> None:
    plan = planned([linked(1), linked(2), linked(3)], 30)
    assert posted(plan) == ["e1", "e2", "e3"]


def test_if_the_ledger_must_refuse_one_all_are_refused_and_the_rest_of_the_round_posts() -> None:
    batch = [linked(1, group=None), linked(2), linked(3, 90), linked(4), linked(5, group=None), linked(6, group="h")]
    plan = planned([*batch, linked(7, group="h")], 100)
    assert posted(plan) == ["e1", "e5", "e6", "e7"]
    assert rejected(plan) == {
        "e2": RefusalCode.LINKED_PAYMENT_FAILED,
        "e3": RefusalCode.INSUFFICIENT_FUNDS,
        "e4": RefusalCode.LINKED_PAYMENT_FAILED,
    }
    [first, culprit, _] = plan.rejections
    assert first.refusal.figures["failed_payment_id"] == culprit.queued.outbox_position.payment_id
    assert plan.balances["alice"].balance_minor == 100 - 40


def test_what_was_refused_for_another_reason_takes_the_batch_with_it() -> None:
    batch = [linked(1), linked(2)]
    reason = Refusal(RefusalCode.EXTERNAL_ID_REUSED, "")
    plan = planned(batch, 100, refused={batch[1].outbox_position.payment_id: reason})
    assert rejected(plan) == {"e1": RefusalCode.LINKED_PAYMENT_FAILED, "e2": RefusalCode.EXTERNAL_ID_REUSED}


def test_an_external_id_that_the_ledger_knows_for_something_else_takes_the_batch_with_it() -> None:
    batch = [linked(1), linked(2)]
    known = {batch[1].key: KnownOutcome("pay_0_1_1", intent(amount_minor=11).fingerprint, posted=True)}
    plan = planned(batch, 100, known)
    assert rejected(plan) == {"e1": RefusalCode.LINKED_PAYMENT_FAILED, "e2": RefusalCode.EXTERNAL_ID_REUSED}


def test_what_was_posted_before_does_not_hinder_the_rest() -> None:
    batch = [linked(1), linked(2)]
    known = {batch[0].key: KnownOutcome("pay_0_1_1", batch[0].intent.fingerprint, posted=True)}
    plan = planned(batch, 10, known)
    assert posted(plan) == ["e2"]
    assert len(plan.duplicates) == 1


def test_an_atomic_batch_seen_again_is_only_settled_again() -> None:
    batch = [linked(1), linked(2)]
    known = {
        one.key: KnownOutcome(one.outbox_position.payment_id, one.intent.fingerprint, posted=True) for one in batch
    }
    plan = planned(batch, 0, known)
    assert [was_posted for _, was_posted in plan.redelivered] == [True, True]
    assert plan.rejections == []


def test_units_are_single_intents_and_whole_groups() -> None:
    batch = [linked(1, group=None), linked(2), linked(3), linked(4, group="h"), linked(5, group=None)]
    assert [[one.outbox_position.stream_id[-1] for one in unit] for unit in units(batch)] == [
        ["1"],
        ["2", "3"],
        ["4"],
        ["5"],
    ]


def test_an_intent_that_is_not_linked_is_given_out_before_more_is_read() -> None:
    asked = []

    def source() -> Any:
        for n in range(3):
            asked.append(n)
            yield linked(n, group=None)

    next(units(source()))
    assert asked == [0]


def test_an_atomic_batch_larger_than_a_round_is_read_and_posted_whole(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 10_000)
    world.account("shop")
    world.batch([payment(alice, "shop", 1) for _ in range(3)])
    world.batch([payment(alice, "shop", 1) for _ in range(40)], atomic=True)
    world.batch([payment(alice, "shop", 1) for _ in range(3)])
    world.drain = build_drain(world.settings, batch_limit=5)
    assert world.drain.run_once().posted == 43
    assert world.drain.run_once().posted == 3
    world.assert_proven()


def test_an_atomic_batch_waits_as_a_whole_for_an_account_that_somebody_has_locked(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 1_000)
    for name in ("shop", "kiosk"):
        world.account(name)
    world.batch([payment(alice, "shop", 1), payment(alice, "kiosk", 1)], atomic=True)
    world.batch([payment(alice, "shop", 1)])
    with world.held_lock("kiosk"):
        report = world.drain.run_once()
    assert (report.posted, report.deferred) == (1, 2)
    world.assert_proven()
    assert world.balance("shop")["balance_minor"] == 2


def test_the_ledger_rejects_an_atomic_batch_whole_where_the_cache_was_wrong(world: BatchWorld) -> None:
    [alice] = world.neighbours(1, 100)
    world.account("shop")
    world.balance(alice)
    hot_state.put(world.cache, keys.account(3, alice), balance=1_000)
    payments = [payment(alice, "shop", 60), payment(alice, "shop", 60), payment(alice, "shop", 60)]
    accepted = world.batch(payments, atomic=True)
    world.drained()
    found = [world.get(f"/v1/payments/{item['payment']['payment_id']}").get_json() for item in accepted]
    assert [one["reason"]["code"] for one in found] == [
        "linked_payment_failed",
        "insufficient_funds",
        "linked_payment_failed",
    ]
    assert world.balance(alice)["held_minor"] == 0
    assert world.sql("SELECT balance_minor FROM account_balance WHERE account_id = %s", alice) == [(100,)]
    again = world.batch(payments, atomic=True)
    assert {item["problem"]["failed_index"] for item in again} == {0}
    assert all(item["status"] in (409, 422) for item in again)


def test_a_constraint_of_the_ledger_rejects_an_atomic_batch_whole(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    [alice] = world.neighbours(1, 1_000)
    world.account("shop")
    world.sql("ALTER TABLE entry ADD CONSTRAINT no_thirteen CHECK (abs(amount_minor) <> 13)")
    single = world.batch([payment(alice, "shop", 1)])
    accepted = world.batch([payment(alice, "shop", amount) for amount in (12, 13, 14)], atomic=True)
    world.drained()
    found = [world.get(f"/v1/payments/{item['payment']['payment_id']}").get_json() for item in [*single, *accepted]]
    assert [one["status"] for one in found] == ["posted", "rejected", "rejected", "rejected"]
    assert {one["reason"]["code"] for one in found[1:]} == {"linked_payment_failed"}
    world.assert_proven()
    assert world.balance("shop")["balance_minor"] == 1
