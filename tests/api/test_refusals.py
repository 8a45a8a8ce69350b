"""Every refusal, with the figures that explain it, and the order of precedence."""

from pathlib import Path

import pytest

from app.api.responses import catalogue
from app.domain.money import MAX_MINOR
from app.domain.refusals import RefusalCode
from tests.api.world import BANK, World, assert_problem, payment

TESTS = Path(__file__).resolve().parents[1]

PROVOKED_ELSEWHERE = {
    "unauthenticated": "test_access",
    "forbidden": "test_access",
    "not_found": "test_malformed",
    "method_not_allowed": "test_malformed",
    "payload_too_large": "test_malformed",
    "malformed_request": "test_malformed",
    "invalid_cursor": "test_malformed",
    "invalid_id": "test_malformed",
    "amount_not_integer": "test_malformed",
    "amount_not_positive": "test_malformed",
    "amount_out_of_range": "test_malformed",
    "account_exists": "test_accounts",
    "account_frozen": "test_idempotency",
    "account_closed": "test_idempotency",
    "external_id_reused": "test_idempotency",
    "external_id_refused": "test_idempotency",
    "rejected_by_ledger": "test_idempotency",
    "cache_unavailable": "test_outages",
    "ledger_unavailable": "test_outages",
    "outcome_unknown": "test_outages",
    "concurrency_retry_exhausted": "test_waiting",
    "internal_error": "test_outages",
}
PROVOKED_HERE = {
    "accounts_equal",
    "account_not_found",
    "payment_not_found",
    "entity_mismatch",
    "currency_mismatch",
    "two_guarded_accounts",
    "optimistic_lock_conflict",
    "insufficient_funds",
    "balance_out_of_range",
    "ledger_backlogged",
}
NOT_REACHABLE_YET = {"unknown_currency"}


def test_every_code_of_the_catalogue_is_provoked_by_some_test() -> None:
    named = set(PROVOKED_ELSEWHERE) | PROVOKED_HERE | NOT_REACHABLE_YET
    tests = [path.read_text() for path in TESTS.rglob("test_*.py")]
    assert not named - {code.value for code in RefusalCode}
    later = [code for code in RefusalCode if code.value not in named]
    assert not [code for code in later if not any(f'"{code}"' in text or code.name in text for text in tests)]


def test_the_catalogue_is_served_in_order_of_precedence(shared_world: World) -> None:
    served = shared_world.get("/v1/problems", key=None).get_json()["data"]
    assert [row["code"] for row in served] == [code.value for code in RefusalCode]
    assert [(row["code"], row["status"], row["retryable"]) for row in served] == [
        (code.value, status, retryable) for code, status, retryable, _ in catalogue()
    ]
    assert {row["status"] for row in served if row["retryable"]} == {408, 409, 429, 500, 503}


@pytest.fixture(scope="module")
def shop(shared_world: World) -> World:
    """Accounts of several kinds."""
    shared_world.funded("alice", 1_000)
    shared_world.account("bob")
    shared_world.account("usd", currency_code="USD")
    shared_world.account("foreign", entity_id="elsewhere")
    shared_world.account("till", "asset", overdraft_limit_minor=0)
    return shared_world


@pytest.mark.parametrize(
    ("source", "destination", "status", "code", "figures"),
    [
        ("alice", "alice", 422, "accounts_equal", {"account_id": "alice"}),
        ("nobody", "nobody", 422, "accounts_equal", {"account_id": "nobody"}),
        ("nobody", "alice", 404, "account_not_found", {"account_id": "nobody"}),
        ("alice", "nobody", 404, "account_not_found", {"account_id": "nobody"}),
        ("alice", "Alice", 404, "account_not_found", {"account_id": "Alice"}),
        (
            "alice", "foreign", 422, "entity_mismatch",
            {"source_entity_id": "default", "destination_entity_id": "elsewhere"},
        ),
        ("alice", "usd", 422, "currency_mismatch", {"account_id": "usd", "account_currency_code": "USD"}),
        ("usd", "alice", 422, "currency_mismatch", {"account_id": "usd", "account_currency_code": "USD"}),
        (
            "alice", "till", 422, "two_guarded_accounts",
            {"source_account_id": "alice"},
        ),
    ],
)  # fmt: skip
def test_a_payment_between_these_accounts_is_refused(
    shop: World, source: str, destination: str, status: int, code: str, figures: dict[str, object]
) -> None:
    problem = assert_problem(shop.pay(source, destination), status, code)
    assert problem.items() >= figures.items()


def test_a_lack_of_funds_is_explained_by_the_figures(world: World) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    assert world.pay("alice", "bob", 300).status_code == 201
    problem = assert_problem(world.pay("alice", "bob", 701), 422, "insufficient_funds")
    figures = {
        "account_id": "alice", "amount_minor": 701, "balance_minor": 1_000, "held_minor": 300, "floor_minor": 0,
        "available_minor": 700, "version": 2,
    }  # fmt: skip
    assert problem.items() >= figures.items()
    assert "new external_id" in problem["detail"]
    assert "new external_id" in assert_problem(world.pay("alice", "bob", 1_001), 422, "insufficient_funds")["detail"]


def test_a_version_conflict_tells_the_current_version_and_what_to_do(world: World) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    response = world.pay("alice", "bob", expected_version=0)
    problem = assert_problem(response, 409, "optimistic_lock_conflict", retryable=True)
    assert (problem["current_version"], problem["expected_version"], problem["available_minor"]) == (1, 0, 1_000)
    assert "same external_id" in problem["detail"]
    assert world.pay("alice", "bob", expected_version=1).status_code == 201


def test_if_match_with_the_etag_of_the_balance_works_like_expected_version(world: World) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    etag = world.get("/v1/accounts/alice/balance").headers["ETag"]
    assert world.pay("alice", "bob", headers={"If-Match": etag}).status_code == 201
    conflict = world.pay("alice", "bob", headers={"If-Match": etag})
    assert_problem(conflict, 409, "optimistic_lock_conflict", retryable=True)
    both = world.pay("alice", "bob", headers={"If-Match": '"2"'}, expected_version=2)
    assert both.status_code == 201


def test_no_balance_falls_below_what_a_client_can_count(world: World) -> None:
    world.account("capital", "equity")
    world.account(BANK, "asset")
    world.account("bob")
    assert world.pay("capital", "bob", MAX_MINOR).status_code == 201
    problem = assert_problem(world.pay("capital", "bob", 1), 422, "balance_out_of_range")
    assert problem["held_minor"] == MAX_MINOR
    world.drained()
    assert world.balance("capital")["balance_minor"] == -MAX_MINOR
    assert_problem(world.pay("capital", "bob", 1), 422, "balance_out_of_range")


@pytest.mark.parametrize("payment_id", ["pay_0_1_0", "pay_15_1763656270123_0", "pay_16_1_0", "nonsense", "pay_", "é"])
def test_an_unknown_payment_is_named(shop: World, payment_id: str) -> None:
    problem = assert_problem(shop.get(f"/v1/payments/{payment_id}"), 404, "payment_not_found")
    assert problem["payment_id"] == payment_id


def test_a_full_backlog_refuses_until_the_ledger_catches_up_and_the_same_id_then_works(world: World) -> None:
    small = world.with_settings(backlog_limit=3)
    small.funded("alice", 1_000)
    small.account("bob")
    for _ in range(3):
        assert small.pay("alice", "bob", 1).status_code == 201
    body = payment("alice", "bob", 1)
    before = small.balance("alice")
    for _ in range(2):
        problem = assert_problem(small.post("/v1/payments", body), 503, "ledger_backlogged", retryable=True)
        assert problem["account_id"] == "alice"
    assert small.balance("alice") == before, "nothing was held"
    assert_problem(small.pay("alice", "bob", 10_000), 422, "insufficient_funds")  # funds are looked at before
    small.drained()
    assert small.post("/v1/payments", body).status_code == 201


def test_only_the_first_refusal_that_applies_is_given(world: World) -> None:
    world.account("alice")
    world.account("usd", currency_code="USD")
    wrong = payment("ghost", "ghost", 0)
    ladder = [
        ({**wrong, "surprise": 1}, "malformed_request"),
        ({**wrong, "external_id": " "}, "invalid_id"),
        (wrong, "accounts_equal"),
        ({**wrong, "destination_account_id": "usd"}, "account_not_found"),
        ({**wrong, "source_account_id": "alice", "destination_account_id": "usd"}, "currency_mismatch"),
    ]
    world.account("bob")
    ladder += [
        (payment("alice", "bob", 0), "amount_not_positive"),
        (payment("alice", "bob", MAX_MINOR + 1), "amount_out_of_range"),
        (payment("alice", "bob", 1, expected_version=5), "optimistic_lock_conflict"),
        (payment("alice", "bob", 1), "insufficient_funds"),
    ]
    order = [code.value for code in RefusalCode]
    seen = [world.post("/v1/payments", body).get_json()["code"] for body, _ in ladder]
    assert seen == [code for _, code in ladder]
    assert seen == sorted(seen, key=order.index)
