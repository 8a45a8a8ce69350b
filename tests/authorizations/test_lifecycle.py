"""The life of an authorization as a client sees it, and as the ledger keeps it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from app.domain.authorizations import Authorization, AuthorizationState, authorization_of
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Intent, Kind
from app.domain.posting_plan import plan_posting
from app.services.payments.authorizations import conclusion_intent
from tests.api.world import BANK, World, assert_problem, payment
from tests.builders import NOON, heads, intent, queued, rows, wallet
from tests.patience import until


def authorized(api: World, amount_minor: int = 300, destination: str | None = "bob", **more: Any) -> dict[str, Any]:
    """An authorization out of alice's account."""
    response = api.pay("alice", destination, amount_minor, capture="manual", **more)  # type: ignore[arg-type]
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.get_json()
    assert body["status"] == "authorized"
    return body


def capture(api: World, payment_id: str, amount_minor: int | None = None, **options: Any) -> TestResponse:
    body = {} if amount_minor is None else {"amount_minor": amount_minor}
    return api.post(f"/v1/payments/{payment_id}/capture", body, **options)


def void(api: World, payment_id: str, **options: Any) -> TestResponse:
    return api.post(f"/v1/payments/{payment_id}/void", **options)


def shown(api: World, payment_id: str) -> dict[str, Any]:
    response = api.get(f"/v1/payments/{payment_id}")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


def cache(api: World, account_id: str = "alice") -> tuple[int, int]:
    """Balance and what is held of it."""
    balance = api.balance(account_id)
    return balance["balance_minor"], balance["held_minor"]


def history(api: World, payment_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT state, amount_minor FROM hold_event WHERE payment_id = %s ORDER BY hold_event_id"
    return api.sql(query, payment_id)


def expire(api: World) -> None:
    """Let the clock release one authorization whose time comes soon."""
    until(lambda: api.services.authorizations.expire_due(datetime.now(UTC)) == 1)


# Authorizing


def test_an_authorization_is_held_and_not_posted(api: World) -> None:
    payment_id = authorized(api)["payment_id"]
    for _ in range(2):
        assert cache(api) == (1_000, 300)
        assert api.sql("SELECT count(*) FROM ledger_transaction WHERE payment_id = %s", payment_id) == [(0,)]
        api.drained()
    assert api.sql("SELECT balance_minor FROM account_balance WHERE account_id = 'alice'") == [(1_000,)]
    api.assert_proven()


def test_an_authorization_expires_after_a_week_unless_it_says_otherwise(api: World) -> None:
    for expires_in_s, lasts in ((None, timedelta(days=7)), (1, timedelta(seconds=1)), (30 * 86_400, timedelta(30))):
        body = authorized(api, 1, expires_in_s=expires_in_s)
        times = [datetime.fromisoformat(body[name]) for name in ("accepted_at", "expires_at")]
        assert times[1] - times[0] == lasts
        assert shown(api, body["payment_id"])["expires_at"] == body["expires_at"]


@pytest.mark.parametrize("more", [{"expires_in_s": 60}, {"expires_in_s": 60, "capture": "automatic"}])
def test_only_an_authorization_may_expire(api: World, more: dict[str, Any]) -> None:
    assert_problem(api.pay("alice", "bob", 1, **more), 422, "expiry_not_allowed")


@pytest.mark.parametrize("expires_in_s", [0, -1, 30 * 86_400 + 1, 2**40])
def test_an_expiry_out_of_bounds_is_refused(api: World, expires_in_s: int) -> None:
    response = api.pay("alice", "bob", 1, capture="manual", expires_in_s=expires_in_s)
    assert_problem(response, 422, "expiry_not_allowed")
    assert cache(api) == (1_000, 0)


def test_an_authorization_needs_its_funds(api: World) -> None:
    authorized(api, 800)
    api.drained()
    problem = assert_problem(api.pay("alice", "bob", 201, capture="manual"), 422, "insufficient_funds", retryable=True)
    assert problem["available_minor"] == 200
    authorized(api, 200)
    assert_problem(api.pay("alice", "bob", 1), 422, "insufficient_funds", retryable=True)


@pytest.mark.parametrize("drained", [False, True])
def test_an_authorization_sent_again_is_the_same(api: World, drained: bool) -> None:
    first = authorized(api, external_id="order-1", expires_in_s=3_600)
    if drained:
        api.drained()
    again = api.pay("alice", "bob", 300, external_id="order-1", capture="manual", expires_in_s=3_600)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.get_json()["payment_id"] == first["payment_id"]
    assert again.get_json()["expires_at"] == first["expires_at"]
    assert cache(api) == (1_000, 300)
    api.assert_proven()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({}, "capture"),
        ({"capture": "manual", "expires_in_s": 61}, "capture"),
        ({"capture": "manual", "expires_in_s": 60, "amount_minor": 301}, "amount_minor"),
    ],
)
def test_the_external_id_of_an_authorization_is_not_for_another_payment(
    api: World, more: dict[str, Any], field: str
) -> None:
    authorized(api, external_id="order-1", expires_in_s=60)
    body = payment("alice", "bob", 300, external_id="order-1") | more
    assert assert_problem(api.post("/v1/payments", body), 422, "external_id_reused")["field"] == field


@pytest.mark.parametrize("ended", [False, True])
def test_after_the_window_the_ledger_refuses_the_external_id_of_an_authorization(api: World, ended: bool) -> None:
    first = authorized(api, external_id="order-1")["payment_id"]
    if ended:
        void(api, first)
    api.drained()
    api.cache.flushdb()
    late = api.pay("alice", "bob", 300, external_id="order-1").get_json()
    api.drained()
    rejected = shown(api, late["payment_id"])
    assert (rejected["status"], rejected["reason"]["code"]) == ("rejected", "external_id_reused")
    assert rejected["reason"]["figures"]["payment_id"] == first
    assert cache(api) == (1_000, 0 if ended else 300)
    api.assert_proven()


def test_after_the_window_an_authorization_sent_again_is_not_held_twice(api: World) -> None:
    authorized(api, external_id="order-1")
    api.drained()
    api.cache.flushdb()
    api.pay("alice", "bob", 300, external_id="order-1", capture="manual")
    api.drained()
    assert cache(api) == (1_000, 300)
    assert api.sql("SELECT count(*) FROM hold") == [(1,)]
    api.assert_proven()


# Capturing


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize(("asked", "captured"), [(None, 300), (300, 300), (120, 120), (1, 1)])
def test_a_capture_posts_what_it_takes_and_releases_the_rest(
    api: World, asked: int | None, captured: int, drained: bool
) -> None:
    payment_id = authorized(api)["payment_id"]
    if drained:
        api.drained()
    response = capture(api, payment_id, asked)
    body = response.get_json()
    assert (response.status_code, body["status"], body["captured_minor"]) == (200, "captured", captured)
    assert "Idempotent-Replayed" not in response.headers
    assert cache(api) == (1_000, captured)
    api.drained()
    assert (cache(api), cache(api, "bob")) == ((1_000 - captured, 0), (captured, 0))
    api.assert_proven()


def test_a_capture_without_a_body_takes_everything(api: World) -> None:
    payment_id = authorized(api)["payment_id"]
    response = api.call("POST", f"/v1/payments/{payment_id}/capture")
    assert response.get_json()["captured_minor"] == 300


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("amount", [None, 120])
def test_a_capture_sent_again_answers_the_same_and_says_so(api: World, amount: int | None, drained: bool) -> None:
    payment_id = authorized(api)["payment_id"]
    first = capture(api, payment_id, amount)
    if drained:
        api.drained()
    again = capture(api, payment_id, amount)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    for name in ("status", "captured_minor", "amount_minor", "payment_id"):
        assert again.get_json()[name] == first.get_json()[name]
    api.assert_proven()
    assert cache(api, "bob") == (amount or 300, 0)


@pytest.mark.parametrize("drained", [False, True])
def test_whoever_is_second_is_told_what_was_first(api: World, drained: bool) -> None:
    captured, voided = authorized(api)["payment_id"], authorized(api)["payment_id"]
    assert capture(api, captured, 120).status_code == 200
    assert void(api, voided).status_code == 200
    if drained:
        api.drained()
    for late in (capture(api, captured, 121), capture(api, captured), void(api, captured)):
        problem = assert_problem(late, 409, "hold_already_captured")
        assert (problem["payment_id"], problem["state"]) == (captured, "captured")
    assert_problem(capture(api, voided), 409, "hold_already_voided")
    again = void(api, voided)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    api.assert_proven()
    assert (cache(api), cache(api, "bob")) == ((880, 0), (120, 0))


def test_the_ledger_tells_what_was_first_when_the_cache_has_forgotten(api: World) -> None:
    captured, voided = authorized(api)["payment_id"], authorized(api)["payment_id"]
    capture(api, captured, 120)
    void(api, voided)
    api.drained()
    api.cache.flushdb()
    assert capture(api, captured, 120).headers["Idempotent-Replayed"] == "true"
    assert_problem(capture(api, captured, 121), 409, "hold_already_captured")
    assert_problem(void(api, captured), 409, "hold_already_captured")
    assert void(api, voided).headers["Idempotent-Replayed"] == "true"
    assert_problem(capture(api, voided), 409, "hold_already_voided")
    api.assert_proven()


def test_a_capture_never_takes_more_than_was_authorized(api: World) -> None:
    payment_id = authorized(api)["payment_id"]
    problem = assert_problem(capture(api, payment_id, 301), 422, "capture_exceeds_hold")
    assert (problem["amount_minor"], problem["authorized_minor"]) == (301, 300)
    assert capture(api, payment_id, 300).status_code == 200


@pytest.mark.parametrize("amount", [0, -1])
def test_a_capture_of_nothing_is_refused(api: World, amount: int) -> None:
    assert_problem(capture(api, authorized(api)["payment_id"], amount), 422, "amount_not_positive")


@pytest.mark.parametrize("verb", [capture, void])
def test_what_is_no_authorization_is_not_found(api: World, verb: Callable[..., TestResponse]) -> None:
    pending = api.pay("alice", "bob", 10).get_json()["payment_id"]
    for payment_id in ("nonsense", "0-1-1", "99-1700000000000-0", pending):
        assert_problem(verb(api, payment_id), 404, "hold_not_found")
    api.drained()
    assert_problem(verb(api, pending), 404, "hold_not_found")


def test_a_frozen_account_takes_no_new_authorization_and_lets_an_old_one_be_captured(api: World) -> None:
    payment_id = authorized(api)["payment_id"]
    api.set_status("alice", "frozen")
    api.set_status("bob", "frozen")
    assert_problem(api.pay("alice", "carol", 1, capture="manual"), 422, "account_frozen")
    assert capture(api, payment_id, 200).status_code == 200
    api.assert_proven()
    assert cache(api, "bob") == (200, 0)


def test_an_authorization_of_incoming_money_holds_nothing_and_is_captured_and_voided_like_any_other(api: World) -> None:
    captured, voided = (api.pay(BANK, "bob", 50, capture="manual").get_json()["payment_id"] for _ in range(2))
    assert capture(api, captured, 20).status_code == 200
    api.drained()
    assert void(api, voided).status_code == 200
    assert_problem(capture(api, voided), 409, "hold_already_voided")
    api.cache.flushdb()
    assert_problem(void(api, captured), 409, "hold_already_captured")
    api.assert_proven()
    assert cache(api, "bob") == (20, 0)


def test_a_capture_that_the_ledger_rejects_leaves_the_answer_to_the_authorization_as_it_was(api: World) -> None:
    first = authorized(api, external_id="order-1")
    api.drained()
    api.sql("ALTER TABLE entry ADD CONSTRAINT no_thirteen CHECK (amount_minor <> 13)")
    assert capture(api, first["payment_id"], 13).status_code == 200
    api.drained()
    assert api.sql("SELECT code FROM payment_rejection") == [("rejected_by_ledger",)]
    again = api.pay("alice", "bob", 300, external_id="order-1", capture="manual")
    assert (again.status_code, again.get_json()["payment_id"]) == (200, first["payment_id"])
    api.sql("ALTER TABLE entry DROP CONSTRAINT no_thirteen")


# Splits


def test_a_capture_of_part_takes_from_every_destination_in_proportion(api: World) -> None:
    parts = [{"account_id": "bob", "share": "0.5"}, {"account_id": "carol", "remainder": True}]
    body = authorized(api, 101, None, destinations=parts)
    split = [{"account_id": "bob", "amount_minor": 50}, {"account_id": "carol", "amount_minor": 51}]
    assert body["destinations"] == split
    assert shown(api, body["payment_id"])["destinations"] == split
    assert capture(api, body["payment_id"], 11).get_json()["captured_minor"] == 11
    api.assert_proven()
    assert (cache(api, "bob"), cache(api, "carol"), cache(api)) == ((5, 0), (6, 0), (989, 0))
    posted = shown(api, body["payment_id"])
    assert [one["amount_minor"] for one in posted["destinations"]] == [5, 6]


def test_a_destination_whose_part_comes_to_nothing_gets_no_entry(api: World) -> None:
    parts = [{"account_id": "bob", "amount_minor": 1}, {"account_id": "carol", "amount_minor": 99}]
    body = authorized(api, 100, None, destinations=parts)
    capture(api, body["payment_id"], 10)
    api.assert_proven()
    assert (cache(api, "bob"), cache(api, "carol")) == ((0, 0), (10, 0))


def test_a_split_that_does_not_come_to_the_whole_is_refused(api: World) -> None:
    parts = [{"account_id": "bob", "amount_minor": 60}, {"account_id": "carol", "share": "0.5"}]
    for more in ({}, {"capture": "manual"}):
        response = api.pay("alice", None, 100, destinations=parts, **more)  # type: ignore[arg-type]
        assert_problem(response, 422, "splits_do_not_add_up")
    assert cache(api) == (1_000, 0)


# Expiring


def test_an_authorization_is_released_when_its_time_is_over(api: World) -> None:
    payment_id = authorized(api, expires_in_s=1)["payment_id"]
    api.drained()
    expire(api)
    assert cache(api) == (1_000, 0)
    assert shown(api, payment_id)["status"] == "expired"
    for late in (capture(api, payment_id), void(api, payment_id)):
        assert_problem(late, 409, "hold_expired")
    assert api.services.authorizations.expire_due(datetime.now(UTC)) == 0
    api.drained()
    assert shown(api, payment_id)["status"] == "expired"
    assert_problem(capture(api, payment_id), 409, "hold_expired")
    assert history(api, payment_id) == [("authorized", 300), ("expired", 0)]
    assert api.sql("SELECT actor FROM hold_event WHERE state = 'expired'") == [("clock",)]
    api.assert_proven()


def test_an_authorization_is_not_captured_after_its_time_though_nobody_has_released_it(api: World) -> None:
    payment_id = authorized(api, expires_in_s=1)["payment_id"]
    late = datetime.fromisoformat(shown(api, payment_id)["expires_at"]) + timedelta(milliseconds=5)
    until(lambda: datetime.now(UTC) > late)
    assert_problem(capture(api, payment_id), 409, "hold_expired")
    assert_problem(void(api, payment_id), 409, "hold_expired")
    assert cache(api) == (1_000, 300)
    api.drained()
    expire(api)
    api.assert_proven()
    assert cache(api) == (1_000, 0)


def test_what_ended_before_its_time_does_not_expire(api: World) -> None:
    captured, voided, open_one = (authorized(api, 100)["payment_id"] for _ in range(3))
    api.drained()
    capture(api, captured)
    void(api, voided)
    # Their time comes all at once; in the ledger only, for the cache knows of none.
    api.sql("SET session_replication_role = replica; UPDATE hold SET expires_at = now() - interval '1 second'")
    expire(api)
    api.assert_proven()
    states = [shown(api, payment_id)["status"] for payment_id in (captured, voided, open_one)]
    assert states == ["captured", "voided", "expired"]


# What is shown, and what is kept


def test_a_reader_sees_every_step(api: World) -> None:
    captured, voided = authorized(api)["payment_id"], authorized(api)["payment_id"]
    seen = []

    def look() -> None:
        shows = [shown(api, payment_id) for payment_id in (captured, voided)]
        seen.append([(one["status"], one.get("captured_minor")) for one in shows])

    look()
    api.drained()
    look()
    capture(api, captured, 120)
    void(api, voided)
    look()
    api.drained()
    assert [shown(api, payment_id)["status"] for payment_id in (captured, voided)] == ["captured", "voided"]
    open_states = [("authorized", None), ("authorized", None)]
    assert seen == [open_states, open_states, [("captured", 120), ("voided", None)]]
    posted = shown(api, captured)
    assert (posted["amount_minor"], posted["captured_minor"]) == (300, 120)
    assert posted["ledger_transaction"] is not None
    assert {one["amount_minor"] for one in posted["entries"]} == {120}
    assert [(one["account_id"], one["direction"]) for one in posted["entries"]] == [
        ("alice", "debit"),
        ("bob", "credit"),
    ]
    assert shown(api, voided)["concluded_at"]


@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("amount", [None, 120])
def test_a_capture_looks_the_same_in_its_answer_its_replay_and_whenever_it_is_read(
    api: World, amount: int | None, is_split: bool
) -> None:
    parts = [{"account_id": "bob", "share": "0.5"}, {"account_id": api.account("carol"), "remainder": True}]
    more: dict[str, Any] = {"destinations": parts, "destination_account_id": None} if is_split else {}
    payment_id = authorized(api, **more)["payment_id"]
    answers = [capture(api, payment_id, amount).get_json()]
    answers += [capture(api, payment_id, amount).get_json(), shown(api, payment_id)]
    api.drained()
    answers += [capture(api, payment_id, amount).get_json(), shown(api, payment_id)]
    found = api.get("/v1/payments?external_id=" + answers[0]["external_id"]).get_json()["data"]
    only_posted = ("durability", "posted_at", "entries", "ledger_transaction", "refunded_minor", "refundable_minor")
    views = [{name: one[name] for name in one if name not in only_posted} for one in [*answers, *found]]
    assert views == [views[0]] * 6
    assert (views[0]["amount_minor"], views[0]["captured_minor"]) == (300, amount or 300)
    assert views[0]["concluded_at"]
    assert views[0]["effective_at"] == views[0]["concluded_at"]


@pytest.mark.parametrize("drained", [False, True])
def test_an_authorization_is_found_by_its_external_id(api: World, drained: bool) -> None:
    payment_id = authorized(api, external_id="order-1")["payment_id"]
    if drained:
        api.drained()
        api.cache.flushdb()
    [found] = api.get("/v1/payments?external_id=order-1").get_json()["data"]
    assert (found["payment_id"], found["status"]) == (payment_id, "authorized")


def test_the_history_says_what_how_much_and_who(api: World) -> None:
    captured, voided = authorized(api)["payment_id"], authorized(api, 200)["payment_id"]
    capture(api, captured, 120)
    void(api, voided)
    api.drained()
    assert history(api, captured) == [("authorized", 300), ("captured", 120)]
    assert history(api, voided) == [("authorized", 200), ("voided", 0)]
    [actors] = api.sql("SELECT array_agg(DISTINCT actor) FROM hold_event")
    assert all(actor.startswith("key:") for actor in actors[0])
    [(count,)] = api.sql("SELECT count(DISTINCT intent_id) FROM hold_event")
    assert count == 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hold SET state = 'voided'",
        "UPDATE hold SET captured_minor = 1",
        "UPDATE hold SET state = 'authorized', concluded_by = NULL",
        "UPDATE hold SET state = state",
    ],
)
def test_the_database_itself_refuses_a_second_conclusion(api: World, statement: str) -> None:
    capture(api, authorized(api)["payment_id"], 120)
    api.drained()
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        api.sql(statement)
    assert refused.value.diag.constraint_name == "hold_concluded_once"
    assert api.sql("SELECT state, captured_minor FROM hold") == [("captured", 120)]


def test_the_application_can_neither_delete_an_authorization_nor_rewrite_its_terms(api: World) -> None:
    authorized(api)
    api.drained()
    statements = ["DELETE FROM hold", "UPDATE hold SET hold_minor = 1", "UPDATE hold SET expires_at = now()"]
    with psycopg.connect(api.settings.database_url, autocommit=True) as connection:
        for statement in [*statements, "DELETE FROM hold_event", "UPDATE hold_event SET amount_minor = 0"]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


# The state machine in the ledger


def ending(authorization: QueuedIntent, state: AuthorizationState, amount_minor: int = 0) -> Intent:
    return conclusion_intent(authorization_of(authorization), state, amount_minor, "key:test")


ENDS = {
    "captured": (AuthorizationState.CAPTURED, 60),
    "voided": (AuthorizationState.VOIDED, 0),
    "expired": (AuthorizationState.EXPIRED, 0),
}
CODES = {"captured": "hold_already_captured", "voided": "hold_already_voided", "expired": "hold_expired"}


@pytest.mark.parametrize("one_batch", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("first", ENDS)
def test_the_ledger_takes_the_first_end_and_rejects_the_second(first: str, second: str, one_batch: bool) -> None:
    opened = queued(1, intent(amount_minor=60, kind=Kind.AUTHORIZATION))
    ends = [queued(n, ending(opened, *ENDS[name])) for n, name in ((2, first), (3, second))]
    balances, chain = rows(wallet("alice", 100), wallet("bob")), heads()
    authorizations: dict[str, Authorization] = {}
    batches = [[opened, *ends]] if one_batch else [[opened], [ends[0]], [ends[1]]]
    plans = [plan_posting(batch, {}, set(), balances, chain, NOON, authorizations=authorizations) for batch in batches]
    rejections = [rejection for plan in plans for rejection in plan.rejections]
    assert [(one.queued, one.refusal.code) for one in rejections] == [(ends[1], CODES[first])]
    assert authorizations[opened.outbox_position.payment_id].state == first
    assert sum(len(plan.transactions) for plan in plans) == (first == "captured")
    assert balances["alice"].balance_minor == (40 if first == "captured" else 100)


@pytest.mark.parametrize("name", ENDS)
def test_the_ledger_rejects_the_end_of_what_it_does_not_have(name: str) -> None:
    opened = queued(1, intent(amount_minor=60, kind=Kind.AUTHORIZATION))
    end = queued(2, ending(opened, *ENDS[name]))
    plan = plan_posting([end], {}, set(), rows(wallet("alice", 100), wallet("bob")), heads(), NOON)
    assert [rejection.refusal.code for rejection in plan.rejections] == ["hold_not_found"]


@pytest.mark.parametrize("name", ENDS)
def test_an_end_that_the_ledger_has_is_only_settled_again(name: str) -> None:
    opened = queued(1, intent(amount_minor=60, kind=Kind.AUTHORIZATION))
    end = queued(2, ending(opened, *ENDS[name]))
    balances, chain = rows(wallet("alice", 100), wallet("bob")), heads()
    authorizations: dict[str, Authorization] = {}
    plan_posting([opened, end], {}, set(), balances, chain, NOON, authorizations=authorizations)
    again = plan_posting([end], {}, set(), balances, chain, NOON, authorizations=authorizations)
    assert (again.redelivered, again.transactions, again.rejections) == ([(end, True)], [], [])
