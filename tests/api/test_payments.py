"""Payments over HTTP: accepted, pending, posted, rejected; it can be found from the first moment on."""

import pytest

from app.cache import keys
from app.domain.money import MAX_MINOR
from tests.api.world import BANK, World, assert_problem, payment


def test_a_payment_is_accepted_with_its_whole_content(world: World) -> None:
    world.funded("alice", 10_000)
    world.account("bob")
    body = payment(
        "alice", "bob", 2_500, description="Lunch, für zwei", effective_at="2026-01-31T10:30:00+01:00",
        metadata={"order": 7, "tags": ["a", "ß"]},
    )  # fmt: skip
    response = world.post("/v1/payments", body)
    assert response.status_code == 201
    answer = response.get_json()
    assert response.headers["Location"] == f"/v1/payments/{answer['payment_id']}"
    assert "Idempotent-Replayed" not in response.headers
    assert "Preference-Applied" not in response.headers
    assert answer.pop("payment_id").startswith("pay_")
    assert answer.pop("accepted_at").endswith("Z")
    assert answer == {
        "external_id": body["external_id"],
        "status": "pending",
        "durability": "cache_fsync_always",
        "version": 2,
        "source_account_id": "alice",
        "destination_account_id": "bob",
        "amount_minor": 2_500,
        "currency_code": "EUR",
        "description": "Lunch, für zwei",
        "effective_at": "2026-01-31T09:30:00.000Z",
        "metadata": {"order": 7, "tags": ["a", "ß"]},
    }


def test_a_pending_payment_is_found_at_once_and_holds_the_money(world: World) -> None:
    world.funded("alice", 10_000)
    world.account("bob")
    accepted = world.pay("alice", "bob", 4_000, external_id="lunch").get_json()
    by_id = world.get(f"/v1/payments/{accepted['payment_id']}").get_json()
    [by_external_id] = world.get("/v1/payments?external_id=lunch").get_json()["data"]
    assert by_id == by_external_id
    assert (by_id["status"], by_id["durability"], by_id["amount_minor"]) == ("pending", "cache_fsync_always", 4_000)
    assert "posted_at" not in by_id
    assert "entries" not in by_id
    balance = world.balance("alice")
    assert (balance["balance_minor"], balance["held_minor"], balance["available_minor"]) == (10_000, 4_000, 6_000)
    assert world.balance("bob")["available_minor"] == 0, "a credit is not spendable before it is in the ledger"


def test_a_posted_payment_shows_its_entries_and_its_ledger_transaction(world: World) -> None:
    world.funded("alice", 10_000)
    world.account("bob")
    accepted = world.pay("alice", "bob", 4_000, external_id="lunch").get_json()
    world.drained()
    by_id = world.get(f"/v1/payments/{accepted['payment_id']}").get_json()
    [by_external_id] = world.get("/v1/payments?external_id=lunch").get_json()["data"]
    assert by_id == by_external_id
    assert (by_id["status"], by_id["durability"]) == ("posted", "ledger")
    assert by_id["posted_at"] >= by_id["accepted_at"] == accepted["accepted_at"]
    assert by_id["entries"] == [
        {"account_id": "alice", "entry_number": 2, "direction": "debit", "amount_minor": 4_000, "balance_minor": 6_000},
        {"account_id": "bob", "entry_number": 1, "direction": "credit", "amount_minor": 4_000, "balance_minor": 4_000},
    ]
    partition, _, chain_seq = by_id["ledger_transaction"].partition("/")
    assert int(chain_seq) >= 1
    assert accepted["payment_id"].startswith(f"pay_{partition}_")
    balance = world.balance("alice")
    assert (balance["balance_minor"], balance["held_minor"], balance["available_minor"]) == (6_000, 0, 6_000)


def test_the_version_does_not_change_when_a_payment_is_posted(world: World) -> None:
    world.funded("alice", 10_000)
    world.account("bob")
    accepted = world.pay("alice", "bob").get_json()
    assert world.balance("alice")["version"] == accepted["version"]
    world.drained()
    assert world.balance("alice")["version"] == accepted["version"]


def test_a_payment_that_the_ledger_rejects_is_shown_with_its_reason(world: World) -> None:
    world.funded("rich", MAX_MINOR)
    accepted = world.deposit("rich", 1, external_id="one too many").get_json()
    world.drained()
    found = world.get(f"/v1/payments/{accepted['payment_id']}").get_json()
    assert found["status"] == "rejected"
    assert found["reason"]["code"] == "balance_out_of_range"
    assert found["reason"]["figures"]["balance_minor"] == MAX_MINOR
    assert found["rejected_at"] >= found["accepted_at"]
    assert found["amount_minor"] == 1
    [by_external_id] = world.get("/v1/payments?external_id=one+too+many").get_json()["data"]
    assert by_external_id == found
    assert world.balance("rich")["balance_minor"] == MAX_MINOR


def test_a_refused_payment_is_found_by_its_external_id_with_the_reason(world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.pay("alice", "bob", 101, external_id="too much")
    [found] = world.get("/v1/payments?external_id=too+much").get_json()["data"]
    assert found["payment_id"] is None
    assert found["status"] == "rejected"
    assert found["reason"]["code"] == "insufficient_funds"
    assert found["reason"]["figures"]["available_minor"] == 100


def test_an_unknown_external_id_finds_nothing(world: World) -> None:
    assert world.get("/v1/payments?external_id=never").get_json() == {"data": [], "next": None}


def test_an_external_id_is_searched_in_the_named_entity(world: World) -> None:
    world.account("a", entity_id="one", overdraft_limit_minor=None)
    world.account("b", entity_id="one")
    assert world.pay("a", "b", external_id="x").status_code == 201
    for _ in ("pending", "posted"):
        assert world.get("/v1/payments?external_id=x").get_json()["data"] == []
        assert len(world.get("/v1/payments?external_id=x&entity_id=one").get_json()["data"]) == 1
        world.drained()


def test_the_same_external_id_may_be_used_by_two_entities(world: World) -> None:
    for entity in ("one", "two"):
        world.account(f"a-{entity}", entity_id=entity, overdraft_limit_minor=None)
        world.account(f"b-{entity}", entity_id=entity)
        assert world.pay(f"a-{entity}", f"b-{entity}", external_id="x").status_code == 201
    world.drained()
    for entity in ("one", "two"):
        assert world.balance(f"b-{entity}")["balance_minor"] == 100


def test_entities_and_external_ids_with_colons_are_not_mixed_up(world: World) -> None:
    partition = world.drain.cache.partition_of
    neighbour = next(name for name in (f"a{n}" for n in range(2, 1_000)) if partition(name) == partition("a1"))
    for source, destination, entity in (("a1", "b1", "x"), (neighbour, "b2", "x:y")):
        world.account(source, entity_id=entity, overdraft_limit_minor=None)
        world.account(destination, entity_id=entity)
    assert world.pay("a1", "b1", external_id="y:z").status_code == 201
    other = world.pay(neighbour, "b2", external_id="z")
    assert other.status_code == 201, other.text
    world.drained()
    assert [world.balance(name)["balance_minor"] for name in ("b1", "b2")] == [100, 100]


@pytest.mark.parametrize("amount_minor", [1, MAX_MINOR])
def test_amounts_up_to_the_edge_are_exact_from_end_to_end(world: World, amount_minor: int) -> None:
    world.funded("alice", amount_minor)
    world.account("bob")
    assert world.pay("alice", "bob", amount_minor).status_code == 201
    assert world.balance("alice")["held_minor"] == amount_minor
    world.drained()
    assert world.balance("alice")["balance_minor"] == 0
    assert world.balance("bob")["balance_minor"] == amount_minor


def test_an_overdraft_limit_lets_a_balance_fall_so_far_and_no_further(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice", overdraft_limit_minor=500)
    assert world.balance("alice")["available_minor"] == 500
    assert world.pay("alice", BANK, 501).get_json()["available_minor"] == 500
    assert world.pay("alice", BANK, 500).status_code == 201
    world.drained()
    assert world.balance("alice")["balance_minor"] == -500


def test_money_taken_from_an_asset_with_a_floor_is_guarded_there(world: World) -> None:
    world.account("till", "asset", overdraft_limit_minor=0)
    world.account("alice")
    world.account("capital", "equity")
    assert world.pay("till", "alice", 300).status_code == 201  # a debit raises an asset
    world.drained()
    assert_problem(world.pay("capital", "till", 301), 422, "insufficient_funds")  # a credit lowers it
    assert world.pay("capital", "till", 300).status_code == 201
    world.drained()
    assert world.balance("till")["balance_minor"] == 0


def test_a_repeat_after_the_window_is_answered_with_the_original_once_the_ledger_is_asked(world: World) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    body = payment("alice", "bob", 400)
    first = world.post("/v1/payments", body).get_json()
    world.drained()
    for key in world.cache.scan_iter(keys.pattern(keys.RECORD)):
        world.cache.delete(key)  # the idempotency window is over
    late = world.post("/v1/payments", body)
    assert late.status_code == 201
    world.drained()
    shown = world.get(f"/v1/payments/{late.get_json()['payment_id']}").get_json()
    assert (shown["status"], shown["duplicate_of"]) == ("posted", first["payment_id"])
    assert world.balance("alice")["balance_minor"] == 600, "posted once"
    assert world.balance("alice")["held_minor"] == 0
    again = world.post("/v1/payments", body)
    assert (again.status_code, again.get_json()["payment_id"]) == (200, first["payment_id"])
