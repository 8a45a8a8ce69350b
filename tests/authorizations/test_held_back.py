"""What is held may come free: holds past their time count as free, and a lack of funds that holds explain is not final.

The scheduler does not run here, so nothing but the payment itself releases what is due.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.errors import LedgerUnavailable
from tests.api.world import World, assert_problem, payment
from tests.journals.world import credit, debit, journal


@pytest.fixture
def shop(api: World) -> World:
    """Alice with a thousand, all of it authorized for a second."""
    api.pay("alice", "bob", 1_000, capture="manual", expires_in_s=1)
    api.drained()
    return api


@pytest.fixture
def patient_shop(api: World) -> World:
    """Alice with a thousand, all of it authorized for a week."""
    api.pay("alice", "bob", 1_000, capture="manual")
    api.drained()
    return api


def pay(world: World) -> TestResponse:
    return world.pay("alice", "bob", 600, external_id="order")


def batch(world: World, *, atomic: bool) -> TestResponse:
    payments = [payment("alice", "bob", 300, external_id=f"order-{n}") for n in range(2)]
    return world.post("/v1/payments/batch", {"payments": payments, "atomic": atomic})


def post_journal(world: World) -> TestResponse:
    entries = debit("alice", 600), credit("bob", 600)
    return world.post("/v1/journals", journal(*entries, external_id="order"))


WAYS: dict[str, Callable[[World], TestResponse]] = {
    "a payment": pay,
    "an authorization": lambda world: world.pay("alice", "bob", 600, external_id="order", capture="manual"),
    "a batch": lambda world: batch(world, atomic=False),
    "an atomic batch": lambda world: batch(world, atomic=True),
    "a journal": post_journal,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_held_past_its_time_stands_in_nobodys_way(shop: World, way: Callable[[World], TestResponse]) -> None:
    time.sleep(1.1)  # by the cache's clock
    answer = way(shop)
    assert answer.status_code in (200, 201), answer.text
    assert "problem" not in answer.text
    shop.assert_proven()
    assert shop.balance("bob")["balance_minor"] + shop.balance("alice")["held_minor"] == 600


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_refusal_that_a_hold_explains_is_retryable_and_the_same_succeeds_once_it_is_void(
    patient_shop: World, way: Callable[[World], TestResponse]
) -> None:
    refused = way(patient_shop)
    problems = _problems(refused)
    assert problems
    for problem in problems:
        assert (problem["code"], problem["status"], problem["retryable"]) in {
            ("insufficient_funds", 422, True),
            ("linked_payment_failed", 409, True),
        }
    [(payment_id,)] = patient_shop.sql("SELECT payment_id FROM hold WHERE state = 'authorized'")
    patient_shop.call("POST", f"/v1/payments/{payment_id}/void")
    again = way(patient_shop)
    assert again.status_code in (200, 201), again.text
    assert _problems(again) == []
    patient_shop.assert_proven()


def _problems(answer: TestResponse) -> list[dict[str, Any]]:
    body = answer.get_json()
    if "data" in body:
        return [one["problem"] for one in body["data"] if "problem" in one]
    return [body] if answer.status_code >= 400 else []


def test_a_refusal_that_the_balance_explains_stays_one(shop: World) -> None:
    body = payment("alice", "bob", 1_001)
    first = assert_problem(shop.post("/v1/payments", body), 422, "insufficient_funds")
    time.sleep(1.1)
    shop.deposit("alice", 5_000)
    shop.drained()
    replay = shop.post("/v1/payments", body)
    assert (replay.get_json(), replay.headers["Idempotent-Replayed"]) == (first, "true")
    assert "new external_id" in first["detail"]


def test_a_pending_payment_is_a_hold_too_until_the_ledger_has_it(api: World) -> None:
    api.pay("alice", "bob", 900)
    body = payment("alice", "bob", 101)
    problem = assert_problem(api.post("/v1/payments", body), 422, "insufficient_funds", retryable=True)
    assert "same external_id" in problem["detail"]
    api.drained()
    assert_problem(api.post("/v1/payments", body), 422, "insufficient_funds")
    api.deposit("alice", 5_000)
    api.drained()
    assert_problem(api.post("/v1/payments", body), 422, "insufficient_funds")


def test_without_the_ledger_a_hold_past_its_time_refuses_for_now_only(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(1.1)

    def away(*arguments: object) -> None:
        raise LedgerUnavailable("gone")

    with monkeypatch.context() as outage:
        outage.setattr("app.ledger.transactions.LedgerAuthorizations.due_on", away)
        assert_problem(pay(shop), 422, "insufficient_funds", retryable=True)
    assert pay(shop).status_code == 201


def test_a_dry_run_sees_what_is_held_past_its_time_as_free(shop: World) -> None:
    time.sleep(1.1)
    body = payment("alice", "bob", 600)
    assert shop.post("/v1/payments?dry_run=true", body).status_code == 200


def test_a_limit_and_a_closing_do_not_wait_for_what_is_held_past_its_time(shop: World) -> None:
    time.sleep(1.1)

    for account_id, fields in (("alice", {"overdraft_limit_minor": 5}), ("bob", {"status": "closed"})):
        answer = shop.call("PATCH", f"/v1/accounts/{account_id}", json={**fields, "reason": "a test"})
        assert answer.status_code == 200, answer.text
        shop.drained()
    shop.assert_proven()
