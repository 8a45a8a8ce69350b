"""What is authorized may come free: holds past their time count as free, and a refusal that authorizations explain is
not final. What pending payments hold is spent: a refusal that they explain is final, and on record.

The scheduler does not run here, so nothing but the payment itself releases what is due.
"""

import json
import pkgutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.cache import keys
from app.domain.errors import LedgerUnavailable
from app.domain.payment import DEFAULT_PARTITIONS, partition_of
from app.domain.payment_checks import FINGERPRINT_LENGTH
from tests.api.world import World, assert_problem, payment
from tests.journals.world import credit, debit, journal

RECORD_REFUSALS = "app.cache.reservations.Reservations.record_refusals"


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


def away(*arguments: object) -> None:
    raise LedgerUnavailable("gone")


def _noting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that refusals cost, from now on and for services that are built from now on."""
    calls: list[str] = []
    for name in ("app.ledger.transactions.LedgerAuthorizations.open_on", RECORD_REFUSALS):
        monkeypatch.setattr(name, _noted(pkgutil.resolve_name(name), calls))
    return calls


def _noted(call: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """The same call, which notes its name."""

    def noted(*arguments: Any) -> Any:
        calls.append(call.__name__)
        return call(*arguments)

    return noted


def _problems_in_lines(answer: TestResponse) -> list[dict[str, Any]]:
    return [json.loads(line)["problem"] for line in answer.data.splitlines()]


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


# What pending payments hold is spent


@pytest.fixture
def busy_shop(api: World) -> World:
    """Alice with a thousand, nearly all of it spent by a payment that the ledger does not have yet."""
    api.pay("alice", "bob", 900)
    return api


def record_of(world: World, external_id: str) -> str | None:
    name = keys.record(partition_of("alice", DEFAULT_PARTITIONS), "default", external_id)
    found: str | None = world.cache.get(name)  # type: ignore[assignment]
    return found


def stream(world: World) -> TestResponse:
    lines = "\n".join(json.dumps(payment("alice", "bob", 300, external_id=f"order-{n}")) for n in range(2))
    headers = {"Authorization": f"Bearer {world.key}"}
    return world.application.test_client().post(
        "/v1/payments/batch", data=lines, content_type="application/x-ndjson", headers=headers, buffered=True
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_refusal_that_pending_payments_explain_is_not_retryable(
    busy_shop: World, way: Callable[[World], TestResponse]
) -> None:
    [first, *_] = _problems(way(busy_shop))
    assert (first["code"], first["status"], first["retryable"]) == ("insufficient_funds", 422, False)


def test_it_is_on_record_as_the_script_records_one_and_stays_the_answer_when_funds_come(busy_shop: World) -> None:
    body = payment("alice", "bob", 101, external_id="late")
    first = assert_problem(busy_shop.post("/v1/payments", body), 422, "insufficient_funds")
    assert "new external_id" in first["detail"]
    busy_shop.post("/v1/payments", payment("alice", "bob", 1_001, external_id="by the script"))
    ours, scripts = record_of(busy_shop, "late"), record_of(busy_shop, "by the script")
    assert ours is not None
    assert scripts is not None
    assert ours[FINGERPRINT_LENGTH:] == scripts[FINGERPRINT_LENGTH:]
    ages = [busy_shop.cache.pttl(name) for name in busy_shop.cache.scan_iter("hf:*:r:default:*")]
    assert min(ages) > 0  # type: ignore[type-var]
    busy_shop.deposit("alice", 5_000)
    busy_shop.drained()
    again = busy_shop.post("/v1/payments", body)
    assert (again.get_json(), again.headers["Idempotent-Replayed"]) == (first, "true")
    busy_shop.assert_proven()


@pytest.mark.parametrize(("amount", "retryable"), [(400, True), (401, False)])
def test_only_what_is_authorized_comes_free(api: World, amount: int, retryable: bool) -> None:
    api.pay("alice", "bob", 300, capture="manual")
    api.drained()
    api.pay("alice", "bob", 600)
    body = payment("alice", "bob", amount, external_id="order")
    problem = assert_problem(api.post("/v1/payments", body), 422, "insufficient_funds", retryable=retryable)
    assert ("same external_id" in problem["detail"]) == retryable
    assert (record_of(api, "order") is None) == retryable


def test_a_batch_asks_once_and_records_once_and_a_repeat_in_it_is_a_repeat(
    busy_shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy_shop.pay("bob", "alice", 950)  # bob has a thousand too
    calls = _noting(monkeypatch)
    busy_shop = busy_shop.with_settings()  # services that are built now
    payments = [payment("alice", "bob", 101, external_id="twice") for _ in range(2)]
    payments += [payment("bob", "alice", 101, external_id="bobs"), payment("alice", "bob", 1, external_id="small")]
    dry = busy_shop.post("/v1/payments/batch?dry_run=true", {"payments": payments}).get_json()["data"]
    assert (calls, record_of(busy_shop, "twice")) == (["open_on"], None)
    real = busy_shop.post("/v1/payments/batch", {"payments": payments}).get_json()["data"]
    assert calls == ["open_on", "open_on", "record_refusals"]
    for data in (dry, real):
        assert [one["status"] for one in data] == [422, 422, 422, data[3]["status"]]
        assert [one.get("replayed") for one in data[:3]] == [real[0].get("replayed"), True, real[2].get("replayed")]
        assert [one["problem"]["retryable"] for one in data[:3]] == [False] * 3
    again = busy_shop.post("/v1/payments/batch", {"payments": payments[1:]}).get_json()["data"]
    assert [one["status"] for one in again] == [422, 422, 200]
    assert len(calls) == 3


def test_a_stream_answers_alike(busy_shop: World) -> None:
    assert [one["retryable"] for one in _problems_in_lines(stream(busy_shop))] == [False, False]
    assert record_of(busy_shop, "order-1") is not None


def test_an_atomic_batch_and_a_dry_run_record_nothing(busy_shop: World) -> None:
    batch(busy_shop, atomic=True)
    assert_problem(
        busy_shop.post("/v1/payments?dry_run=true", payment("alice", "bob", 300, external_id="order-0")),
        422,
        "insufficient_funds",
        retryable=False,
    )
    assert record_of(busy_shop, "order-0") is None


def test_what_is_accepted_and_what_the_script_records_asks_nobody(
    busy_shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _noting(monkeypatch)
    busy_shop = busy_shop.with_settings()  # services that are built now
    assert busy_shop.pay("alice", "bob", 100).status_code == 201
    assert busy_shop.pay("alice", "bob", 1_001).status_code == 422
    assert calls == []


# The same external id is decided elsewhere between the decision and its record


def _accept(world: World) -> TestResponse:
    world.deposit("alice", 5_000)
    world.drained()
    return world.pay("alice", "bob", 101, external_id="late")


RACES: dict[str, tuple[Callable[[World], TestResponse], int]] = {
    "accepted": (_accept, 200),
    "refused": (lambda world: world.pay("alice", "bob", 101, external_id="late"), 422),
    "accepted with other content": (lambda world: world.pay("alice", "bob", 7, external_id="late"), 422),
}


@pytest.mark.parametrize(("meanwhile", "status"), RACES.values(), ids=RACES)
def test_who_was_first_has_decided(
    busy_shop: World, meanwhile: Callable[[World], TestResponse], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_refusals = pkgutil.resolve_name(RECORD_REFUSALS)
    others: list[TestResponse] = []

    def late(*arguments: Any) -> Any:
        monkeypatch.undo()
        others.append(meanwhile(busy_shop))
        return record_refusals(*arguments)

    monkeypatch.setattr(RECORD_REFUSALS, late)
    answer = busy_shop.pay("alice", "bob", 101, external_id="late")
    [other] = others
    assert answer.status_code == status
    if other.get_json().get("amount_minor") == 7:
        assert_problem(answer, 422, "external_id_reused")
    else:
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert answer.get_json().get("payment_id") == other.get_json().get("payment_id")
        assert answer.get_json().get("detail") == other.get_json().get("detail")
    busy_shop.assert_proven()


# Without the ledger


def test_without_the_ledger_the_cache_knows_what_pending_payments_hold(
    busy_shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.transactions.translated", away)
    assert_problem(pay(busy_shop), 422, "insufficient_funds", retryable=False)
    assert record_of(busy_shop, "order") is not None
    problem, _ = _problems(batch(busy_shop, atomic=True))
    assert (problem["code"], problem["retryable"]) == ("insufficient_funds", False)


def test_without_the_ledger_an_account_with_many_holds_is_refused_for_now_only(
    busy_shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr("app.ledger.transactions.translated", away)
        outage.setattr("app.cache.inspection.MOST_HOLDS", 0)
        assert_problem(pay(busy_shop), 422, "insufficient_funds", retryable=True)
    assert record_of(busy_shop, "order") is None
    assert_problem(pay(busy_shop), 422, "insufficient_funds", retryable=False)


def test_without_the_ledger_a_hold_past_its_time_refuses_for_now_only(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(1.1)
    with monkeypatch.context() as outage:
        outage.setattr("app.ledger.transactions.translated", away)
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
