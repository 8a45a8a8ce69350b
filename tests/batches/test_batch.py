"""Batches as JSON: each payment as if sent alone, in order."""

import json
from dataclasses import replace

import pytest

from app.api.batches import LARGEST_BATCH_BODY
from app.services.payments import batches as pacing
from app.services.payments.batches import LARGEST_BATCH
from tests.api.world import assert_problem, payment
from tests.batches.world import BANK, PATH, BatchWorld


def test_every_payment_of_a_batch_is_answered_in_order_as_if_sent_alone(world: BatchWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    payments = [
        payment("alice", "bob", 60, external_id="first"),
        payment("alice", "bob", 60, external_id="too much"),
        payment("alice", "bob", 40, external_id="rest", metadata={"order": 7}),
        payment("alice", "bob", 60, external_id="first"),
        payment("alice", "bob", 61, external_id="first"),
        payment("alice", "nobody", 1),
    ]
    items = world.batch(payments)
    assert [item["status"] for item in items] == [201, 422, 201, 200, 422, 404]
    assert [item["replayed"] for item in items] == [False, False, False, True, False, False]
    codes = [item.get("problem", {}).get("code") for item in items]
    assert codes == [None, "insufficient_funds", None, None, "external_id_reused", "account_not_found"]
    assert items[3]["payment"] == items[0]["payment"]
    assert items[2]["payment"]["metadata"] == {"order": 7}
    world.assert_proven()
    assert world.balance("bob")["balance_minor"] == 100


def test_an_item_shows_what_the_single_payment_would_have(world: BatchWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    accepted, refused = payment("alice", "bob", 10), payment("alice", "bob", 1_000)
    items = world.batch([accepted, refused])
    alone = world.post("/v1/payments", accepted)
    assert (alone.status_code, alone.get_json()) == (200, items[0]["payment"])
    assert world.post("/v1/payments", refused).get_json() == items[1]["problem"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (7, "malformed_request"),
        ({}, "malformed_request"),
        (payment("a", "b", 1) | {"colour": "red"}, "malformed_request"),
        (payment("a", "b", 1, description="\x00"), "malformed_request"),
        (payment("a", "b", 1, effective_at="2026-01-31T09:30:00"), "malformed_request"),
        (payment("a", "b", "1"), "amount_not_integer"),
        (payment("a", "b", 2**70), "amount_out_of_range"),
        (payment("a", "b", 0), "amount_not_positive"),
    ],
)
def test_a_malformed_payment_does_not_spoil_the_others(world: BatchWorld, item: object, code: str) -> None:
    world.account(BANK, "asset")
    world.account("a")
    world.account("b")
    items = world.batch([payment(BANK, "a", 1), item, payment(BANK, "a", 1)])
    assert [one["status"] for one in items] == [201, items[1]["problem"]["status"], 201]
    assert items[1]["problem"]["code"] == code


def test_a_batch_sent_again_replays_every_payment(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    payments = [payment(BANK, "alice", n) for n in range(1, 251)]
    first = world.batch(payments)
    again = world.batch(payments)
    assert {item["status"] for item in first} == {201}
    assert {(item["status"], item["replayed"]) for item in again} == {(200, True)}
    assert [item["payment"]["payment_id"] for item in again] == [item["payment"]["payment_id"] for item in first]
    world.assert_proven()
    assert world.balance("alice")["balance_minor"] == sum(range(1, 251))


def test_the_largest_batch_is_taken_and_one_more_is_refused(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    for n in range(10):
        world.account(f"user-{n}")
    payments = [payment(BANK, f"user-{n % 10}", 1, metadata={"note": "x" * 200}) for n in range(LARGEST_BATCH)]
    assert len(json.dumps(payments)) > 1024 * 1024, "more than any other route takes"
    assert {item["status"] for item in world.batch(payments)} == {201}
    refused = world.post(PATH, {"payments": [*payments, payments[0]]})
    assert assert_problem(refused, 413, "batch_too_large")["max_payments"] == LARGEST_BATCH
    world.assert_proven()
    assert sum(world.balance(f"user-{n}")["balance_minor"] for n in range(10)) == LARGEST_BATCH


def test_a_batch_of_too_many_bytes_is_refused(world: BatchWorld) -> None:
    assert_problem(world.post(PATH, b" " * (LARGEST_BATCH_BODY + 1)), 413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"nonsense", b'{"payments": []}', b'{"payments": 7}', b'{"payments": [{}], "all": 1}']
)
def test_what_is_no_batch_is_malformed(world: BatchWorld, body: bytes) -> None:
    assert_problem(world.post(PATH, body), 400, "malformed_request")


def test_headers_and_parameters_that_do_not_apply_to_a_batch_are_refused(world: BatchWorld) -> None:
    body = {"payments": [payment("a", "b")]}
    assert_problem(world.post(PATH, body, headers={"If-Match": '"7"'}), 400, "malformed_request")
    assert_problem(world.post(PATH + "?atomic=true", body), 400, "malformed_request")
    encoded = world.post(PATH, body, headers={"Content-Encoding": "gzip"})
    assert assert_problem(encoded, 415, "unsupported_content_encoding")["field"] == "Content-Encoding"


def test_a_batch_needs_a_key_that_may_pay(world: BatchWorld) -> None:
    assert_problem(world.post(PATH, {"payments": [payment("a", "b")]}, key=None), 401, "unauthenticated")


def test_payments_of_many_partitions_are_decided_in_one_request(world: BatchWorld) -> None:
    names = [world.funded(f"payer-{n}", 10) for n in range(20)]
    world.account("shop")
    items = world.batch([payment(name, "shop", 6) for name in names for _ in range(2)])
    assert [item["status"] for item in items] == [201, 422] * 20
    world.assert_proven()
    assert world.balance("shop")["balance_minor"] == 120


def test_a_large_batch_waits_while_the_ledger_is_behind_and_a_dry_run_does_not(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    world = replace(world, sleep=slept.append)
    world.funded("alice", 1_000)
    world.account("bob")
    monkeypatch.setattr(pacing, "HARMLESS_BACKLOG", 50)
    many = [payment("alice", "bob", 1) for _ in range(pacing.LARGE)]
    assert {item["status"] for item in world.batch(many)} == {201}
    assert slept == []
    world.batch(many, "?dry_run=true")
    assert slept == []
    world.batch(many)
    world.batch([payment("alice", "bob", 1) for _ in range(pacing.LARGE)], atomic=True)
    assert slept == [pytest.approx(pacing.STEP_S)] * 2
    world.drained()
    world.batch([payment("alice", "bob", 1) for _ in range(pacing.LARGE)])
    assert len(slept) == 2
    world.assert_proven()
