"""What becomes of open authorizations when their accounts are frozen, cut or closed: a promise is kept."""

from itertools import count
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.accounts.desk import Desk
from tests.api.world import BANK, World, assert_problem

FREEZES = ("frozen", "frozen_debits", "frozen_credits")
numbers = count()


def authorized(world: World, source: str, destination: str, amount_minor: int) -> str:
    """An open authorization in the ledger; its id."""
    response = world.pay(source, destination, amount_minor, capture="manual")
    assert response.status_code == 201, response.text
    world.drained()
    payment_id: str = response.get_json()["payment_id"]
    return payment_id


def capture(world: World, payment_id: str, **body: Any) -> TestResponse:
    """Capture, all or part."""
    return world.post(f"/v1/payments/{payment_id}/capture", body)


def status(world: World, payment_id: str) -> str:
    """What has become of a payment, once everything is posted."""
    world.drained()
    return str(world.get(f"/v1/payments/{payment_id}").get_json()["status"])


def journal(world: World, debit: str, credit: str) -> TestResponse:
    entries = [
        {"account_id": debit, "direction": "debit", "amount_minor": 1},
        {"account_id": credit, "direction": "credit", "amount_minor": 1},
    ]
    return world.post("/v1/journals", {"external_id": f"j-{next(numbers)}", "entries": entries, "reason": "a test"})


@pytest.mark.parametrize("frozen", ["alice", "bob"])
@pytest.mark.parametrize("freeze", FREEZES)
def test_an_authorization_made_before_a_freeze_is_captured_or_voided_after_it(
    desk: Desk, world: World, freeze: str, frozen: str
) -> None:
    world.funded("alice", 100)
    world.account("bob")
    taken, dropped = authorized(world, "alice", "bob", 60), authorized(world, "alice", "bob", 30)
    desk.changed(frozen, status=freeze)
    assert capture(world, taken, amount_minor=50).status_code == 200
    assert world.post(f"/v1/payments/{dropped}/void").status_code == 200
    assert (status(world, taken), status(world, dropped)) == ("captured", "voided")
    assert (world.balance("alice")["available_minor"], world.balance("bob")["balance_minor"]) == (50, 50)
    world.assert_proven()


@pytest.mark.parametrize(
    ("frozen", "freeze", "barred"),
    [
        ("alice", "frozen", True),
        ("alice", "frozen_credits", True),
        ("alice", "frozen_debits", False),
        ("bob", "frozen", True),
        ("bob", "frozen_debits", True),
        ("bob", "frozen_credits", False),
    ],
)
def test_a_refund_a_journal_and_a_reversal_are_new_movements_that_a_freeze_bars(
    desk: Desk, world: World, frozen: str, freeze: str, barred: bool
) -> None:
    """All three debit Bob and credit Alice."""
    world.funded("alice", 100)
    world.funded("bob", 10)
    paid = authorized(world, "alice", "bob", 60)
    capture(world, paid)
    world.drained()
    earlier = journal(world, "alice", "bob").get_json()["journal_id"]
    desk.changed(frozen, status=freeze)
    undo = {"external_id": "undo", "reason": "a test"}
    for answer in (
        journal(world, "bob", "alice"),
        world.post(f"/v1/journals/{earlier}/reversal", undo),
        world.post(f"/v1/payments/{paid}/refunds", {"external_id": "refund"}),
    ):
        if barred:
            assert assert_problem(answer, 422, "account_frozen")["account_status"] == freeze
        else:
            assert answer.status_code == 201, answer.text
    world.assert_proven()


def test_not_even_force_cuts_a_limit_below_what_authorizations_hold(desk: Desk, world: World) -> None:
    world.funded("alice", 10, overdraft_limit_minor=100)
    payment_id = authorized(world, "alice", BANK, 80)
    problem = assert_problem(desk.patch("alice", overdraft_limit_minor=69, force=True), 422, "limit_below_use")
    assert (problem["lowest_limit_minor"], problem["held_minor"]) == (70, 80)
    assert world.get("/v1/accounts/alice").get_json()["status"] == "open"
    assert desk.floors("alice") == (-100, -100)
    desk.changed("alice", overdraft_limit_minor=70, force=True)
    assert capture(world, payment_id).status_code == 200
    assert status(world, payment_id) == "captured"
    desk.changed("alice", overdraft_limit_minor=0, force=True)
    assert (world.balance("alice")["balance_minor"], desk.floors("alice")) == (-70, (0, 0))
    world.assert_proven()


def test_a_first_limit_counts_what_is_held_and_waits_for_authorizations_that_hold_nothing(
    desk: Desk, world: World
) -> None:
    world.funded("alice", 100, overdraft_limit_minor=None)
    world.account("cash", "asset")
    out, into = authorized(world, "alice", "cash", 300), authorized(world, BANK, "alice", 5)
    problem = assert_problem(desk.patch("cash", overdraft_limit_minor=1_000), 422, "limit_below_use")
    assert problem["open_authorizations"] == 1
    assert world.get("/v1/accounts/cash").get_json()["status"] == "open"
    assert_problem(desk.patch("alice", overdraft_limit_minor=199), 422, "limit_below_use")
    desk.changed("alice", overdraft_limit_minor=200)
    desk.changed(BANK, overdraft_limit_minor=0)
    assert (capture(world, out).status_code, capture(world, into).status_code) == (200, 200)
    assert (status(world, out), status(world, into)) == ("captured", "captured")
    desk.changed("cash", overdraft_limit_minor=300)
    world.assert_proven()
