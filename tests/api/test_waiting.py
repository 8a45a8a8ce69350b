"""`Prefer: wait`: the answer of the ledger, or `pending` when time is up."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from app.cache.client import blocking_client
from app.cache.notifications import Subscriber
from app.wiring.workers import build_drain
from tests.api.world import BANK, World, assert_problem


@pytest.fixture
def shop(world: World) -> Iterator[World]:
    """Alice with money and Bob; the API listens for what the ledger answers."""
    room = world.services.durable_wait.room
    client = blocking_client(world.settings.redis_url, decode_responses=True)
    subscriber = Subscriber(client, room.hear, room.begin)
    subscriber.start()
    world.funded("alice", 1_000)
    world.account("bob")
    yield world
    subscriber.stop()


@contextmanager
def draining(world: World) -> Iterator[None]:
    """A drain at work beside the test."""
    drain, stopped = build_drain(world.settings), Event()

    def work() -> None:
        while not stopped.wait(0.01):
            drain.run_once()

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_a_waiting_payment_answers_posted_once_the_ledger_has_it(shop: World) -> None:
    with draining(shop):
        response = shop.pay("alice", "bob", headers={"Prefer": "wait=20"})
    assert response.status_code == 201
    assert (response.get_json()["status"], response.get_json()["durability"]) == ("posted", "ledger")
    assert response.headers["Preference-Applied"] == "wait=20"


def test_a_replay_may_wait_too(shop: World) -> None:
    shop.pay("alice", "bob", external_id="x")
    shop.drained()
    response = shop.pay("alice", "bob", external_id="x", headers={"Prefer": "wait=20"})
    assert (response.status_code, response.get_json()["status"]) == (200, "posted")
    assert response.headers["Idempotent-Replayed"] == "true"


def test_a_wait_that_ends_before_the_ledger_answers_says_pending(shop: World) -> None:
    for seconds in ("0", "1"):
        response = shop.pay("alice", "bob", 1, headers={"Prefer": f"wait={seconds}"})
        assert (response.status_code, response.get_json()["status"]) == (201, "pending")
        assert response.headers["Preference-Applied"] == f"wait={seconds}"


@pytest.mark.parametrize(
    ("header", "applied"),
    [
        ("wait=0", "wait=0"),
        ("WAIT=0", "wait=0"),
        ("wait = 0", "wait=0"),
        ('wait="0"', "wait=0"),
        ("respond-async, wait=0", "wait=0"),
        ("handling=lenient; foo, wait=0; bar", "wait=0"),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("wait=1.5", None),
        ("await=9", None),
        ("return=minimal", None),
        ("", None),
    ],
)
def test_the_preference_is_read_as_the_rfc_writes_it_and_ignored_otherwise(
    shared_world: World, header: str, applied: str | None
) -> None:
    shared_world.account(BANK, "asset")
    shared_world.account("bob")
    response = shared_world.pay(BANK, "bob", headers={"Prefer": header})
    assert response.status_code == 201
    assert response.headers.get("Preference-Applied") == applied


def test_a_very_long_wait_is_capped_and_the_answer_says_so(shop: World) -> None:
    with draining(shop):
        response = shop.pay("alice", "bob", headers={"Prefer": "wait=86400"})
    assert response.headers["Preference-Applied"] == "wait=30"


def test_a_caller_who_finds_every_waiting_place_taken_is_not_told_that_a_wait_was_applied(shop: World) -> None:
    room = shop.services.durable_wait.room
    room.capacity = 0
    paid = shop.pay("alice", "bob", headers={"Prefer": "wait=20"})
    assert (paid.status_code, paid.get_json()["status"]) == (201, "pending")
    held = shop.pay("alice", "bob", capture="manual").get_json()["payment_id"]
    voided = shop.post(f"/v1/payments/{held}/void", headers={"Prefer": "wait=20"})
    assert voided.status_code == 200
    assert not {"Preference-Applied"} & {*paid.headers.keys(), *voided.headers.keys()}


def test_a_waiting_payment_that_the_ledger_rejects_answers_why(shop: World) -> None:
    shop.sql("ALTER TABLE entry ADD CONSTRAINT no_thirteen CHECK (amount_minor <> 13)")
    with draining(shop):
        response = shop.pay("alice", "bob", 13, headers={"Prefer": "wait=20"})
    problem = assert_problem(response, 422, "rejected_by_ledger")
    assert problem["payment_id"].startswith("pay_")
    assert shop.balance("alice")["available_minor"] == 1_000


def test_a_refused_payment_does_not_wait(shop: World) -> None:
    response = shop.pay("alice", "bob", 1_001, headers={"Prefer": "wait=30"})
    assert_problem(response, 422, "insufficient_funds")


def test_a_lock_held_elsewhere_ends_the_wait_with_a_refusal_and_the_payment_is_posted_later(shop: World) -> None:
    with draining(shop):
        with shop.held_lock("alice"):
            response = shop.pay("alice", "bob", 100, external_id="x", headers={"Prefer": "wait=30"})
            problem = assert_problem(response, 503, "concurrency_retry_exhausted", retryable=True)
            assert problem["payment_status"] == "pending"
            outbox_position = f"/v1/payments/{problem['payment_id']}"
            assert shop.get(outbox_position).get_json()["status"] == "pending"
            hot = {row["account_id"]: row for row in shop.get("/v1/reports/conflicts").get_json()["data"]}
            assert hot["alice"]["retries"] >= 2
            assert hot["alice"]["exhausted"] >= 1
            assert "bob" not in hot
        again = shop.pay("alice", "bob", 100, external_id="x", headers={"Prefer": "wait=30"})
    assert (again.status_code, again.get_json()["status"]) == (200, "posted")
    assert shop.balance("alice")["balance_minor"] == 900
