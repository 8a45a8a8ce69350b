"""Journals that name the payment they give back: it can be given back once, by whatever means."""

from typing import Any

import pytest

from tests.api.world import assert_problem
from tests.journals.world import BANK, JOURNALS, JournalWorld, credit, debit, journal


@pytest.fixture
def shop(world: JournalWorld) -> JournalWorld:
    """Alice, who has paid, and shops with money of their own."""
    world.funded("alice", 1_000)
    world.funded("shop", 5_000)
    world.funded("other", 5_000)
    return world


def shown(world: JournalWorld, payment_id: str) -> tuple[Any, Any]:
    body = world.get(f"/v1/payments/{payment_id}").get_json()
    return body["refunded_minor"], body["refundable_minor"]


def test_what_a_journal_has_given_back_cannot_be_refunded_again(shop: JournalWorld) -> None:
    payment_id = shop.paid("alice", "shop", 1_000)
    assert shown(shop, payment_id) == (0, 1_000)
    made = shop.posted(debit("shop", 600), credit("alice", 600), relates_to_payment_id=payment_id)
    assert (made["relates_to_payment_id"], made["reverses"]) == (payment_id, None)
    assert shop.get(f"{JOURNALS}/{made['journal_id']}").get_json() == made
    assert shown(shop, payment_id) == (600, 400)
    problem = assert_problem(shop.refund(payment_id, 401), 422, "refund_exceeds_payment")
    assert (problem["refunded_minor"], problem["remaining_minor"]) == (600, 400)
    assert shop.refund(payment_id).get_json()["amount_minor"] == 400
    assert shown(shop, payment_id) == (1_000, 0)
    again = journal(debit("shop", 1), credit("alice", 1), relates_to_payment_id=payment_id)
    assert_problem(shop.post(JOURNALS, again), 422, "refund_exceeds_payment")
    assert shop.balance("alice")["balance_minor"] == 1_000
    shop.assert_proven()


def test_what_comes_from_another_account_counts_too_and_a_split_is_shared(shop: JournalWorld) -> None:
    parts = [{"account_id": "shop", "amount_minor": 750}, {"account_id": "other", "amount_minor": 250}]
    payment_id = shop.paid("alice", None, 1_000, destinations=parts)
    shop.posted(debit("shop", 350), credit("alice", 350), relates_to_payment_id=payment_id)
    shop.posted(credit("alice", 130), debit(BANK, 130), relates_to_payment_id=payment_id)
    assert shown(shop, payment_id) == (480, 520)
    entries = shop.refund(payment_id).get_json()["entries"]
    assert [(one["account_id"], one["amount_minor"]) for one in entries] == [
        ("shop", 320),
        ("other", 200),
        ("alice", 520),
    ]
    shop.assert_proven()


def test_the_reversal_of_such_a_journal_makes_it_refundable_again(shop: JournalWorld) -> None:
    payment_id = shop.paid("alice", "shop", 1_000)
    made = shop.posted(debit("shop", 600), credit("alice", 600), relates_to_payment_id=payment_id)
    path = f"{JOURNALS}/{made['journal_id']}/reversal"
    undone = shop.post(path, {"external_id": "undo", "reason": "a mistake"})
    assert (undone.status_code, undone.get_json()["reverses"]) == (201, made["journal_id"])
    assert shown(shop, payment_id) == (0, 1_000)
    assert shop.refund(payment_id).get_json()["amount_minor"] == 1_000
    second = shop.post(f"{JOURNALS}/{undone.get_json()['journal_id']}/reversal", {"external_id": "x", "reason": "no"})
    assert_problem(second, 422, "rejected_by_ledger")
    assert shown(shop, payment_id) == (1_000, 0)
    shop.assert_proven()


def test_a_journal_names_a_payment_that_is_posted_and_gives_something_back(shop: JournalWorld) -> None:
    payment_id = shop.paid("alice", "shop", 100)
    entries = debit("shop", 10), credit("other", 10)
    nothing = shop.post(JOURNALS, journal(*entries, relates_to_payment_id=payment_id))
    assert assert_problem(nothing, 422, "journal_returns_nothing")["source_account_id"] == "alice"
    unknown = shop.post(JOURNALS, journal(*entries, relates_to_payment_id="pay_1_2_3"))
    assert_problem(unknown, 404, "payment_not_found")
    shop.services.refunds.patience_s = 0.0
    pending = shop.pay("alice", "shop", 100).get_json()["payment_id"]
    early = shop.post(JOURNALS, journal(debit("shop", 10), credit("alice", 10), relates_to_payment_id=pending))
    assert_problem(early, 409, "payment_not_posted", retryable=True)
    shop.drained()
    shop.assert_proven()


def test_the_payment_is_part_of_what_a_journal_says(shop: JournalWorld) -> None:
    payment_id = shop.paid("alice", "shop", 100)
    body = journal(debit("shop", 10), credit("alice", 10), relates_to_payment_id=payment_id)
    assert shop.post(JOURNALS, body).status_code == 201
    assert shop.post(JOURNALS, body).status_code == 200
    problem = assert_problem(shop.post(JOURNALS, {**body, "relates_to_payment_id": None}), 422, "external_id_reused")
    assert problem["field"] == "relates_to_payment_id"
    assert shown(shop, payment_id) == (10, 90)
    shop.assert_proven()
