"""The same external_id again: it is replayed, or refused with other content, and never moves money twice."""

import pytest

from app.cache import keys
from tests.api.world import BANK, World, assert_problem, payment

OTHER_CONTENT = [
    ("source_account_id", "carol"),
    ("destination_account_id", "carol"),
    ("amount_minor", 101),
    ("description", "other"),
    ("description", None),
    ("effective_at", "2026-02-01T00:00:00Z"),
    ("effective_at", None),
    ("metadata", {"order": 8}),
    ("metadata", None),
]


def first_payment() -> dict[str, object]:
    return payment(
        "alice", "bob", 100, external_id="order-7", description="seven", effective_at="2026-01-31T09:30:00Z",
        metadata={"order": 7, "lines": [1, 2]},
    )  # fmt: skip


@pytest.fixture
def shop(world: World) -> World:
    """Alice, Bob and Carol, each with money."""
    world.account(BANK, "asset")
    for name in ("alice", "bob", "carol"):
        world.account(name)
        world.deposit(name, 1_000)
    world.drained()
    return world


def test_a_replay_answers_the_same_body_and_moves_nothing(shop: World) -> None:
    body = first_payment()
    first = shop.post("/v1/payments", body)
    after_first = shop.balance("alice")
    for _ in range(3):
        replay = shop.post("/v1/payments", body)
        assert replay.status_code == 200
        assert replay.headers["Idempotent-Replayed"] == "true"
        assert replay.headers["Location"] == first.headers["Location"]
        assert replay.data == first.data
    assert shop.balance("alice") == after_first
    shop.drained()
    assert shop.post("/v1/payments", body).data == first.data, "also when it has been posted meanwhile"
    assert shop.balance("alice")["balance_minor"] == 900


def test_the_order_of_fields_and_the_offset_of_a_time_are_no_content(shop: World) -> None:
    body = first_payment()
    assert shop.post("/v1/payments", body).status_code == 201
    turned = dict(reversed(body.items()))
    turned["metadata"] = {"lines": [1, 2], "order": 7}
    turned["effective_at"] = "2026-01-31T10:30:00+01:00"
    assert shop.post("/v1/payments", turned).status_code == 200


@pytest.mark.parametrize("state", ["pending", "posted", "after the window"])
@pytest.mark.parametrize(("field", "value"), OTHER_CONTENT)
def test_the_same_id_with_other_content_is_refused_by_the_field(
    shop: World, field: str, value: object, state: str
) -> None:
    body = first_payment()
    first = shop.post("/v1/payments", body).get_json()
    if state != "pending":
        shop.drained()
    if state == "after the window":
        forget(shop)
    response = shop.post("/v1/payments", {**body, field: value})
    if state == "after the window":
        assert response.status_code == 201, "only the ledger remembers now, and it answers later"
        shop.drained()
        shown = shop.get(response.headers["Location"]).get_json()
        assert (shown["status"], shown["reason"]["code"]) == ("rejected", "external_id_reused")
        assert shown["reason"]["figures"]["field"] == field
        response = shop.post("/v1/payments", {**body, field: value})
        assert response.headers["Idempotent-Replayed"] == "true"
    problem = assert_problem(response, 422, "external_id_reused")
    assert problem["field"] == field
    shop.drained()
    assert shop.get(f"/v1/payments/{first['payment_id']}").get_json()["status"] == "posted"
    assert shop.balance("alice")["balance_minor"] == 900
    for name, balance in (("alice", 900), ("bob", 1_100), ("carol", 1_000)):
        assert (shop.balance(name)["balance_minor"], shop.balance(name)["held_minor"]) == (balance, 0)


def test_another_source_does_not_push_the_first_payment_aside_whichever_partition_decides(shop: World) -> None:
    sources = [f"source-{number}" for number in range(24)]
    for source in sources:
        shop.account(source)
        shop.deposit(source, 1_000)
    shop.drained()
    accepted = []
    for number, (first, second) in enumerate(zip(sources, sources[1:] + sources[:1], strict=True)):
        body = payment(first, BANK, 10, external_id=f"x-{number}")
        accepted.append(shop.post("/v1/payments", body).get_json())
        reused = shop.post("/v1/payments", {**body, "source_account_id": second})
        assert assert_problem(reused, 422, "external_id_reused")["field"] == "source_account_id"
        assert shop.post("/v1/payments", body).status_code == 200
    shop.drained()
    for payment_ in accepted:
        shown = shop.get(f"/v1/payments/{payment_['payment_id']}").get_json()
        assert shown["status"] == "posted", shown
    assert {shop.balance(source)["balance_minor"] for source in sources} == {990}
    assert {shop.balance(source)["held_minor"] for source in sources} == {0}


def test_a_refusal_for_lack_of_funds_stays_after_funds_arrived(shop: World) -> None:
    body = payment("alice", "bob", 1_001)
    first = assert_problem(shop.post("/v1/payments", body), 422, "insufficient_funds")
    assert (first["available_minor"], first["balance_minor"], first["held_minor"]) == (1_000, 1_000, 0)
    assert (first["amount_minor"], first["floor_minor"], first["account_id"]) == (1_001, 0, "alice")
    shop.deposit("alice", 5_000)
    shop.drained()
    replay = shop.post("/v1/payments", body)
    assert replay.get_json() == first
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert shop.post("/v1/payments", {**body, "external_id": "a new one"}).status_code == 201


def test_a_version_conflict_is_not_recorded_so_the_same_id_may_try_again(shop: World) -> None:
    body = payment("alice", "bob", 100, expected_version=99)
    conflict = assert_problem(shop.post("/v1/payments", body), 409, "optimistic_lock_conflict", retryable=True)
    again = {**body, "expected_version": conflict["current_version"]}
    assert shop.post("/v1/payments", again).status_code == 201
    assert shop.post("/v1/payments", body).status_code == 200, "a replay, before the version is looked at"


@pytest.mark.parametrize("status", ["frozen", "frozen_debits", "closed"])
def test_a_payment_accepted_before_its_account_was_barred_is_replayed_and_a_new_one_refused(
    shop: World, status: str
) -> None:
    body = first_payment()
    first = shop.post("/v1/payments", body)
    shop.set_status("alice", status)
    replay = shop.post("/v1/payments", body)
    assert (replay.status_code, replay.data) == (200, first.data)
    code = "account_closed" if status == "closed" else "account_frozen"
    problem = assert_problem(shop.post("/v1/payments", {**body, "external_id": "new"}), 422, code)
    assert (problem["account_id"], problem["account_status"]) == ("alice", status)
    shop.drained()
    assert shop.get(first.headers["Location"]).get_json()["status"] == "posted"


@pytest.mark.parametrize(("status", "code"), [("frozen_credits", "account_frozen"), ("closed", "account_closed")])
def test_an_account_barred_to_credits_takes_no_money(shop: World, status: str, code: str) -> None:
    shop.set_status("bob", status)
    assert_problem(shop.pay("alice", "bob"), 422, code)
    if status == "frozen_credits":
        assert shop.pay("bob", "alice").status_code == 201


def test_a_rejected_id_stays_refused_after_the_window(shop: World) -> None:
    shop.sql("ALTER TABLE entry ADD CONSTRAINT no_thirteen CHECK (amount_minor <> 13)")
    body = payment("alice", "bob", 13)
    rejected = shop.post("/v1/payments", body).get_json()
    good = shop.pay("alice", "bob", 14).get_json()
    shop.drained()
    shown = shop.get(f"/v1/payments/{rejected['payment_id']}").get_json()
    assert (shown["status"], shown["reason"]["code"]) == ("rejected", "rejected_by_ledger")
    assert shown["reason"]["figures"]["constraint"] == "no_thirteen"
    assert shop.get(f"/v1/payments/{good['payment_id']}").get_json()["status"] == "posted"
    problem = assert_problem(shop.post("/v1/payments", body), 422, "rejected_by_ledger")
    assert problem["payment_id"] == rejected["payment_id"]
    shop.sql("ALTER TABLE entry DROP CONSTRAINT no_thirteen")
    forget(shop)
    late = shop.post("/v1/payments", body)
    assert late.status_code == 201
    shop.drained()
    assert_problem(shop.post("/v1/payments", body), 422, "external_id_refused")
    assert (shop.balance("alice")["balance_minor"], shop.balance("alice")["held_minor"]) == (986, 0)


def forget(world: World) -> None:
    """End the idempotency window of all external ids."""
    for kind in (keys.RECORD, keys.CLAIM):
        for key in world.cache.scan_iter(keys.pattern(kind)):
            world.cache.delete(key)


@pytest.mark.parametrize("status", ["frozen", "frozen_debits", "closed"])
def test_a_posted_payment_that_the_cache_has_forgotten_is_answered_though_its_account_is_barred(
    shop: World, status: str
) -> None:
    body = first_payment()
    first = shop.post("/v1/payments", body).get_json()
    shop.drained()
    forget(shop)
    shop.set_status("alice", status)
    replay = shop.post("/v1/payments", body)
    assert (replay.status_code, replay.headers.get("Idempotent-Replayed")) == (200, "true"), replay.text
    assert replay.get_json()["payment_id"] == first["payment_id"]
    code = "account_closed" if status == "closed" else "account_frozen"
    assert_problem(shop.post("/v1/payments", body | {"amount_minor": 101}), 422, code)
    assert_problem(shop.post("/v1/payments", payment("alice", "bob", 1)), 422, code)
    shop.assert_proven()
