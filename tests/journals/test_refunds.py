"""Refunds: many of one payment, never more than all of it, splits taken back in proportion."""

import os
from functools import partial
from typing import Any

import pytest

from app.domain.payment import OutboxPosition
from app.services.access.api_keys import Scope
from app.services.payments.durable_wait import Answer
from tests.api.world import assert_problem
from tests.journals.world import BANK, JournalWorld, at_once, credit, debit

ROUNDS = 100 if os.environ.get("HOLDFAST_LONG") == "1" else 10
CLIENTS = 16


def test_a_payment_is_refunded_in_parts_until_nothing_is_left(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    first = world.refund(payment_id, 30)
    assert first.status_code == 201, first.text
    body = first.get_json()
    assert body["refund_id"].startswith("ref_")
    assert (body["payment_id"], body["amount_minor"], body["status"]) == (payment_id, 30, "posted")
    assert [(e["account_id"], e["direction"], e["amount_minor"], e["balance_minor"]) for e in body["entries"]] == [
        ("shop", "debit", 30, 70),
        ("alice", "credit", 30, 30),
    ]
    problem = assert_problem(world.refund(payment_id, 71), 422, "refund_exceeds_payment")
    figures = ("amount_minor", "posted_minor", "refunded_minor", "remaining_minor")
    assert [problem[name] for name in figures] == [71, 100, 30, 70]
    assert world.refund(payment_id).get_json()["amount_minor"] == 70
    assert_problem(world.refund(payment_id), 422, "refund_exceeds_payment")
    listed = world.get(f"/v1/payments/{payment_id}/refunds").get_json()
    assert [one["amount_minor"] for one in listed["data"]] == [30, 70]
    assert listed["data"][0] == body
    assert (world.balance("alice")["balance_minor"], world.balance("shop")["balance_minor"]) == (100, 0)
    world.assert_proven()


def test_a_split_is_taken_back_in_proportion(world: JournalWorld) -> None:
    world.funded("alice", 1_000)
    wallets = world.wallets(3)
    parts = [{"account_id": one, "amount_minor": part} for one, part in zip(wallets, (500, 300, 200), strict=True)]
    payment_id = world.paid("alice", None, 1_000, destinations=parts)
    body = world.refund(payment_id, 101).get_json()
    assert [entry["amount_minor"] for entry in body["entries"]] == [51, 30, 20, 101]
    world.refund(payment_id, 899)
    assert [world.balance(one)["balance_minor"] for one in wallets] == [0, 0, 0]
    assert world.balance("alice")["balance_minor"] == 1_000
    world.assert_proven()


def test_a_capture_is_refunded_up_to_what_was_captured(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    world.services.refunds.patience_s = 0.0
    payment_id = world.paid("alice", "shop", 100, capture="manual")
    problem = assert_problem(world.refund(payment_id), 409, "payment_not_posted", retryable=True)
    assert problem["payment_status"] == "authorized"
    assert world.post(f"/v1/payments/{payment_id}/capture", {"amount_minor": 60}).status_code == 200
    world.drained()
    assert_problem(world.refund(payment_id, 61), 422, "refund_exceeds_payment")
    assert world.refund(payment_id).get_json()["amount_minor"] == 60
    world.assert_proven()


def test_what_was_voided_never_comes_into_the_ledger_and_no_refund_waits_for_it(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100, capture="manual")
    assert world.post(f"/v1/payments/{payment_id}/void", {}).status_code == 200
    assert_problem(world.refund(payment_id), 409, "payment_not_posted", retryable=False)
    world.drained()
    problem = assert_problem(world.refund(payment_id), 409, "payment_not_posted", retryable=False)
    assert problem["payment_status"] == "voided"
    world.assert_proven()


def test_a_pending_payment_is_waited_for_and_then_refused(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    world.services.refunds.patience_s = 0.1
    payment_id = world.pay("alice", "shop", 100).get_json()["payment_id"]
    problem = assert_problem(world.refund(payment_id, external_id="r"), 409, "payment_not_posted", retryable=True)
    assert problem["payment_status"] == "pending"
    world.drained()
    assert world.refund(payment_id, external_id="r").status_code == 201
    world.assert_proven()


def test_a_refund_is_repeated_without_effect(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    first, again = world.refund(payment_id, 60, "r"), world.refund(payment_id, 60, "r")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.get_json() == first.get_json()
    problem = assert_problem(world.refund(payment_id, 40, "r"), 422, "external_id_reused")
    assert problem["field"] == "amount_minor"
    world.assert_proven()


def test_a_dry_run_answers_what_the_refund_would_and_leaves_no_trace(world: JournalWorld) -> None:
    world.funded("alice", 1_000)
    wallets = world.wallets(2)
    parts = [{"account_id": wallets[0], "share": "0.5"}, {"account_id": wallets[1], "remainder": True}]
    payment_id = world.paid("alice", None, 1_000, destinations=parts)
    path = f"/v1/payments/{payment_id}/refunds"
    wanted = {"external_id": "r", "amount_minor": 333, "reason": "half broken"}
    before = world.traces()
    dry = world.post(f"{path}?dry_run=true", wanted)
    assert dry.status_code == 200, dry.text
    assert world.traces() == before
    real = world.post(path, wanted)
    unknown = ("refund_id", "posted_at", "ledger_transaction")
    assert dry.get_json() == real.get_json() | dict.fromkeys(unknown) | {"status": "dry_run"}
    replayed = world.post(f"{path}?dry_run=true", wanted)
    assert (replayed.get_json(), replayed.headers["Idempotent-Replayed"]) == (real.get_json(), "true")
    world.assert_proven()


def test_a_dry_run_refuses_what_the_refund_would_be_refused_for(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    path = f"/v1/payments/{payment_id}/refunds"

    def same(body: dict[str, Any], status: int, code: str) -> None:
        dry, real = world.post(f"{path}?dry_run=true", body), world.post(path, body)
        assert_problem(dry, status, code)
        assert dry.get_json() == real.get_json()

    same({"external_id": "r", "amount_minor": 101}, 422, "refund_exceeds_payment")
    same({"external_id": "r", "amount_minor": 0}, 422, "amount_not_positive")
    world.posted(debit("shop", 60), credit(BANK, 60))
    same({"external_id": "r"}, 422, "insufficient_funds")
    world.set_status("shop", "frozen_debits")
    same({"external_id": "r"}, 422, "account_frozen")
    assert_problem(world.post(f"{path}?dry_run=1", {"external_id": "r"}), 400, "malformed_request")
    world.assert_proven()


def test_what_cannot_be_refunded_is_refused(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    journal_id = world.posted(debit("shop", 60), credit(BANK, 60))["journal_id"]
    for missing in ("pay_1_2_3", "nothing", journal_id):
        assert_problem(world.refund(missing), 404, "payment_not_found")
        assert_problem(world.get(f"/v1/payments/{missing}/refunds"), 404, "payment_not_found")
    assert_problem(world.refund(payment_id, 0), 422, "amount_not_positive")
    assert_problem(world.refund(payment_id, 1.5), 422, "amount_not_integer")
    assert_problem(world.refund(payment_id, 1, " "), 422, "invalid_id")
    assert_problem(world.refund(payment_id, 41), 422, "insufficient_funds")
    world.set_status("alice", "frozen_credits")
    assert_problem(world.refund(payment_id, 40), 422, "account_frozen")
    body = {"external_id": "x"}
    path = f"/v1/payments/{payment_id}/refunds"
    assert_problem(world.post(path, body, key=world.key_with(Scope.ACCOUNTS_WRITE)), 403, "forbidden")
    world.assert_proven()


@pytest.mark.usefixtures("patient_ledger")
@pytest.mark.parametrize("amount_minor", [10, 7])
def test_refunds_at_once_never_exceed_the_payment(world: JournalWorld, amount_minor: int) -> None:
    """Sixteen clients: as many refunds as fit, and not one more, although the shop could pay for all of them."""
    world.funded("alice", 100 * ROUNDS)
    world.funded("shop", 10_000)
    fit = 100 // amount_minor
    for n in range(ROUNDS):
        payment_id = world.paid("alice", "shop", 100)
        calls = [partial(world.refund, payment_id, amount_minor, f"{n}-{client}") for client in range(CLIENTS)]
        answers = at_once(calls)
        codes = sorted(str(answer.get_json().get("code", answer.status_code)) for answer in answers)
        assert codes == ["201"] * fit + ["refund_exceeds_payment"] * (CLIENTS - fit)
        assert world.balance("shop")["balance_minor"] == 10_000 + (n + 1) * (100 - fit * amount_minor)
    world.assert_proven()


@pytest.mark.usefixtures("patient_ledger")
def test_full_refunds_at_once_refund_once(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.funded("shop", 10_000)
    payment_id = world.paid("alice", "shop", 100)
    answers = at_once([lambda: world.refund(payment_id)] * CLIENTS)
    codes = sorted(str(answer.get_json().get("code", answer.status_code)) for answer in answers)
    assert codes == ["201"] + ["refund_exceeds_payment"] * (CLIENTS - 1)
    world.assert_proven()


def test_a_payment_that_is_posted_meanwhile_is_refunded(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.pay("alice", "shop", 100).get_json()["payment_id"]
    waiting = world.services.durable_wait
    wait = waiting.wait

    def posted_meanwhile(outbox_position: OutboxPosition, seconds: float) -> Answer | None:
        assert (outbox_position.payment_id, seconds) == (payment_id, 5.0)
        world.drained()
        return wait(outbox_position, seconds)

    waiting.wait = posted_meanwhile  # type: ignore[method-assign]
    assert world.refund(payment_id).status_code == 201
    world.assert_proven()
