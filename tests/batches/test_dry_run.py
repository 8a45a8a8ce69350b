"""Dry runs: the real checks and arithmetic, nothing written."""

from typing import Any

import pytest

from app.cache import keys
from tests.api.world import assert_problem, payment
from tests.batches.world import BANK, PATH, BatchWorld

DRY = "/v1/payments?dry_run=true"


def test_a_dry_run_answers_what_the_payment_would_leave_and_writes_nothing(world: BatchWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    body = payment("alice", "bob", 30, metadata={"order": 7}, effective_at="2026-01-31T12:00:00Z")
    before = world.traces()
    dry = world.post(DRY, body)
    assert dry.status_code == 200
    assert "Location" not in dry.headers
    assert world.traces() == before
    shown = dry.get_json()
    assert (shown["payment_id"], shown["status"], shown["accepted_at"]) == (None, "dry_run", None)
    assert shown["funds"] == {
        "account_id": "alice",
        "balance_minor": 100,
        "held_minor": 30,
        "floor_minor": 0,
        "available_minor": 70,
    }
    real = world.post("/v1/payments", body)
    assert real.status_code == 201, "the external_id was not used up"
    kept = ("external_id", "version", "amount_minor", "currency_code", "metadata", "effective_at")
    assert {name: shown[name] for name in kept} == {name: real.get_json()[name] for name in kept}
    assert world.balance("alice")["available_minor"] == 70


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 101},
        {"amount_minor": 0},
        {"destination_account_id": "nobody"},
        {"destination_account_id": "alice"},
        {"currency_code": "USD"},
        {"expected_version": 77},
        {"external_id": "used"},
        {"external_id": "used by a deposit"},
    ],
)
def test_a_dry_run_refuses_what_the_payment_would_be_refused_for(world: BatchWorld, change: dict[str, Any]) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.pay("alice", "bob", 1, external_id="used")
    world.pay(BANK, "bob", 1, external_id="used by a deposit")
    body = payment("alice", "bob", 50) | change
    before = world.traces()
    dry = world.post(DRY, body)
    assert world.traces() == before
    real = world.post("/v1/payments", body)
    assert dry.status_code == real.status_code >= 400
    assert dry.get_json() == real.get_json()


def test_a_dry_run_of_a_payment_that_exists_answers_that_payment(world: BatchWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    body = payment("alice", "bob", 30)
    real = world.post("/v1/payments", body).get_json()
    dry = world.post(DRY, body)
    assert (dry.status_code, dry.get_json()) == (200, real)
    assert dry.headers["Idempotent-Replayed"] == "true"


def test_later_payments_of_a_dry_batch_see_what_earlier_ones_would_leave(world: BatchWorld) -> None:
    world.funded("alice", 1_000)
    world.funded("carol", 10)
    world.account("bob")
    world.cache.flushdb()
    first = payment("alice", "bob", 5)
    payments = [*[payment("alice", "bob", 5) for _ in range(199)], first, first, payment("alice", "bob", 1)]
    payments += [payment("carol", "bob", 6), payment("carol", "bob", 6), first | {"amount_minor": 6}]
    items = world.batch(payments, "?dry_run=true")
    assert world.sql("SELECT count(*) FROM entry") == [(4,)]
    assert [item["status"] for item in items] == [200] * 201 + [422, 200, 422, 422]
    assert items[199]["payment"]["funds"]["available_minor"] == 0
    assert items[200]["replayed"] is True
    assert items[200]["payment"]["payment_id"] is None
    assert items[201]["problem"]["available_minor"] == 0
    assert items[203]["problem"]["available_minor"] == 4
    assert items[204]["problem"]["code"] == "external_id_reused"
    assert not [key for key in world.traces() if key.split(":")[2] in (keys.RECORD, keys.CLAIM, "tally")]
    assert [item["status"] for item in world.batch(payments)] == [201] * 200 + [200, 422, 201, 422, 422]


@pytest.mark.parametrize("query", ["?dry_run=1", "?dry_run=", "?dry_run=TRUE", "?dryrun=true"])
@pytest.mark.parametrize("path", ["/v1/payments", PATH])
def test_anything_but_true_or_false_is_refused_and_moves_no_money(world: BatchWorld, path: str, query: str) -> None:
    body = payment("a", "b")
    assert_problem(world.post(path + query, body if path != PATH else {"payments": [body]}), 400, "malformed_request")


def test_dry_run_false_makes_the_payment(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    assert world.post("/v1/payments?dry_run=false", payment(BANK, "alice")).status_code == 201


def test_a_dry_run_does_not_wait_for_the_ledger(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    response = world.post(DRY, payment(BANK, "alice"), headers={"Prefer": "wait=5"})
    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers
