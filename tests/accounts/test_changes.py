"""Changing accounts over HTTP: limits, freezes, names, metadata, and the record of it all."""

import pytest

from app.domain.money import MAX_MINOR
from app.services.access.api_keys import Scope
from tests.accounts.desk import Desk
from tests.api.world import BANK, World, assert_problem, payment


def test_a_higher_limit_lets_the_very_next_payment_of_every_process_pass(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    other = world.with_settings()
    assert_problem(other.pay("alice", BANK, 150), 422, "insufficient_funds")
    account = desk.changed("alice", overdraft_limit_minor=50)
    assert account["overdraft_limit_minor"] == 50
    assert desk.floors("alice") == (-50, -50)
    assert other.pay("alice", BANK, 150).status_code == 201
    world.drained()
    assert world.balance("alice")["balance_minor"] == -50
    assert world.balance("alice")["available_minor"] == 0


def test_a_lower_limit_stops_the_very_next_payment_of_every_process(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=200)
    other = world.with_settings()
    assert other.pay("alice", BANK, 1).status_code == 201
    desk.changed("alice", overdraft_limit_minor=0)
    assert desk.floors("alice") == (0, 0)
    assert_problem(other.pay("alice", BANK, 100), 422, "insufficient_funds")
    assert other.pay("alice", BANK, 99).status_code == 201


def test_a_limit_below_what_is_in_use_is_refused_with_the_figures(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=200)
    world.pay("alice", BANK, 150)
    world.drained()
    world.pay("alice", BANK, 30)
    problem = assert_problem(desk.patch("alice", overdraft_limit_minor=79), 422, "limit_below_use")
    figures = {"balance_minor": -50, "held_minor": 30, "overdraft_limit_minor": 79, "lowest_limit_minor": 80}
    assert {name: problem[name] for name in figures} == figures
    assert desk.floors("alice") == (-200, -200)
    assert desk.trail("alice") == []
    assert desk.changed("alice", overdraft_limit_minor=80)["overdraft_limit_minor"] == 80


def test_a_forced_limit_lets_the_balance_rise_but_not_fall_and_what_was_accepted_posts(
    desk: Desk, world: World
) -> None:
    world.funded("alice", 100, overdraft_limit_minor=200)
    world.pay("alice", BANK, 150)
    world.drained()
    accepted = world.pay("alice", BANK, 30).get_json()
    desk.changed("alice", overdraft_limit_minor=0, force=True)
    assert world.get(f"/v1/payments/{accepted['payment_id']}").get_json()["status"] == "posted"
    assert world.balance("alice")["balance_minor"] == -80
    assert world.get("/v1/accounts/alice").get_json()["status"] == "open"
    assert_problem(world.pay("alice", BANK, 1), 422, "insufficient_funds")
    world.deposit("alice", 50)
    world.drained()
    assert world.balance("alice")["balance_minor"] == -30
    assert [one["forced"] for one in desk.trail("alice")] == [True]


def test_no_limit_at_all_takes_the_floor_away_and_a_limit_brings_it_back(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    desk.changed("alice", overdraft_limit_minor=None)
    assert desk.floors("alice") == (None, None)
    world.pay("alice", BANK, 1_000)
    assert_problem(desk.patch("alice", overdraft_limit_minor=10), 422, "limit_below_use")
    assert world.get("/v1/accounts/alice").get_json()["status"] == "open"
    desk.changed("alice", overdraft_limit_minor=900)
    assert desk.floors("alice") == (-900, -900)
    assert_problem(world.pay("alice", BANK, 1), 422, "insufficient_funds")


def test_a_first_floor_waits_for_what_is_on_its_way_without_a_hold(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("cash", "asset")
    waiting = [world.pay("alice", "cash", 1), world.pay("cash", "alice", 5)]
    assert [one.status_code for one in waiting] == [201, 201]
    world.drained()
    unheld = world.pay("alice", "cash", 40).get_json()
    assert_problem(desk.patch("cash", overdraft_limit_minor=35), 422, "limit_below_use")
    assert world.get(f"/v1/payments/{unheld['payment_id']}").get_json()["status"] == "posted"
    desk.changed("cash", overdraft_limit_minor=36)
    assert_problem(world.pay("alice", "cash", 1), 422, "two_guarded_accounts")


def test_the_limit_of_a_cold_account_is_checked_against_the_ledger(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=200)
    world.pay("alice", BANK, 150)
    world.drained()
    world.cache.flushdb()
    assert_problem(desk.patch("alice", overdraft_limit_minor=49), 422, "limit_below_use")
    world.cache.flushdb()
    desk.changed("alice", overdraft_limit_minor=50)
    assert desk.floors("alice") == (-50, -50)


def test_a_change_of_the_limit_makes_the_etag_of_the_balance_stale(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    etag = world.get("/v1/accounts/alice/balance").headers["ETag"]
    for limit in (50, 20):
        desk.changed("alice", overdraft_limit_minor=limit)
        answer = world.get("/v1/accounts/alice/balance", headers={"If-None-Match": etag})
        assert (answer.status_code, answer.get_json()["available_minor"]) == (200, 100 + limit)
        etag = answer.headers["ETag"]


@pytest.mark.parametrize(
    ("status", "debit", "credit"),
    [("frozen_debits", False, True), ("frozen_credits", True, False), ("frozen", False, False), ("open", True, True)],
)
def test_a_freeze_bars_what_it_says_in_every_process_and_nothing_else(
    desk: Desk, world: World, status: str, debit: bool, credit: bool
) -> None:
    world.funded("alice", 100)
    other = world.with_settings()
    other.pay("alice", BANK, 1)
    desk.changed("alice", status="frozen", reason="lost card")
    desk.changed("alice", status=status, reason="looked at it")
    for allowed, response in ((debit, other.pay("alice", BANK, 1)), (credit, other.pay(BANK, "alice", 1))):
        if allowed:
            assert response.status_code == 201, response.text
        else:
            assert assert_problem(response, 422, "account_frozen")["account_status"] == status


def test_an_account_that_is_opened_again_is_open_to_a_process_that_has_only_refused(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    paying, batching, posting = (world.with_settings() for _ in range(3))
    entries = [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": BANK, "direction": "credit", "amount_minor": 1},
    ]
    body = {"external_id": "alike", "entries": entries, "reason": "a test"}
    calls = [
        lambda: paying.pay("alice", BANK, 1),
        lambda: paying.call("POST", "/v1/payments?dry_run=true", json=payment("alice", BANK, 1)),
        lambda: batching.post("/v1/payments/batch", {"payments": [payment("alice", BANK, 1)], "atomic": True}),
        lambda: posting.post("/v1/journals", body),
    ]
    for opened in ("frozen_credits", "open"):
        desk.changed("alice", status="frozen")
        for call in calls:
            assert "account_frozen" in call().text
        desk.changed("alice", status=opened)
        for call in calls:
            answer = call()
            assert answer.status_code in (200, 201), answer.text
            assert "account_frozen" not in answer.text
        body["external_id"] = "another"


def test_what_was_accepted_before_a_freeze_still_posts_and_its_retry_is_a_replay(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    accepted = world.pay("alice", BANK, 10, external_id="before").get_json()
    desk.changed("alice", status="frozen")
    world.drained()
    again = world.pay("alice", BANK, 10, external_id="before")
    assert (again.status_code, again.get_json()["payment_id"]) == (200, accepted["payment_id"])
    assert world.balance("alice")["balance_minor"] == 90


def test_a_name_and_metadata_change_without_a_reason_and_null_clears_them(desk: Desk, world: World) -> None:
    world.account("alice", name="Alice", metadata={"tier": "gold"})
    body = {"name": "Alice B.", "metadata": {"tier": None}}
    answer = desk.patch_raw("alice", body)
    assert answer.status_code == 200, answer.text
    assert {name: answer.get_json()[name] for name in body} == body
    cleared = desk.patch_raw("alice", {"name": None, "metadata": None}).get_json()
    assert (cleared["name"], cleared["metadata"]) == (None, None)
    assert world.get("/v1/accounts/alice").get_json() == cleared


def test_each_change_is_on_record_with_who_when_why_before_and_after(desk: Desk, world: World) -> None:
    world.account("alice", name="Alice")
    key = world.key_with(Scope.ACCOUNTS_WRITE)
    response = desk.patch("alice", key=key, overdraft_limit_minor=50, name="A.", reason="raise agreed")
    assert response.status_code == 200, response.text
    desk.changed("alice", status="frozen_debits", reason="dispute 7")
    first, second = desk.trail("alice")
    assert first["before"] == {"overdraft_limit_minor": 0, "name": "Alice"}
    assert first["after"] == {"overdraft_limit_minor": 50, "name": "A."}
    assert (first["reason"], first["forced"], first["account_id"]) == ("raise agreed", False, "alice")
    assert first["changed_by"] == f"key:{key.split('_')[1]}"
    assert first["changed_at"].endswith("Z")
    assert first["changed_at"] <= second["changed_at"]
    assert (second["before"], second["after"]) == ({"status": "open"}, {"status": "frozen_debits"})


def test_a_change_sent_again_is_recorded_once(desk: Desk, world: World) -> None:
    world.account("alice")
    once = desk.changed("alice", overdraft_limit_minor=50, status="frozen")
    assert desk.changed("alice", overdraft_limit_minor=50, status="frozen") == once
    assert len(desk.trail("alice")) == 1


def test_paging_through_changes_gives_each_once_in_order(desk: Desk, world: World) -> None:
    world.account("alice")
    world.account("bob")
    for number in range(7):
        desk.changed("alice", name=str(number))
        desk.changed("bob", name=str(number))
    found: list[str] = []
    after: str | None = "0"
    while after is not None:
        page = world.get(f"/v1/accounts/alice/changes?limit=3&after={after}").get_json()
        found += [one["after"]["name"] for one in page["data"]]
        after = page["next"]
    assert found == [str(number) for number in range(7)]


MALFORMED = {
    "nothing to change": {"reason": "why not"},
    "no body to speak of": {},
    "a limit without a reason": {"overdraft_limit_minor": 1},
    "a status without a reason": {"status": "frozen"},
    "an empty reason": {"status": "frozen", "reason": ""},
    "an unknown status": {"status": "asleep", "reason": "r"},
    "a status of null": {"status": None, "reason": "r"},
    "an unknown field": {"name": "n", "type": "asset"},
    "the currency": {"currency_code": "USD"},
    "force as text": {"overdraft_limit_minor": 1, "reason": "r", "force": "yes"},
    "metadata that is no object": {"metadata": [1]},
    "a long name": {"name": "n" * 201},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_change_is_refused_and_changes_nothing(desk: Desk, world: World, body: dict[str, object]) -> None:
    world.account("alice")
    before = world.get("/v1/accounts/alice").get_json()
    assert_problem(desk.patch_raw("alice", body), 400, "malformed_request")
    assert world.get("/v1/accounts/alice").get_json() == before


@pytest.mark.parametrize(
    ("limit", "code"),
    [(-1, "amount_out_of_range"), (MAX_MINOR + 1, "amount_out_of_range"), (1.5, "amount_not_integer")],
)
def test_a_limit_that_cannot_be_counted_is_refused(desk: Desk, world: World, limit: object, code: str) -> None:
    world.account("alice")
    assert_problem(desk.patch("alice", overdraft_limit_minor=limit), 422, code)


def test_the_largest_limit_can_be_given_and_taken_back(desk: Desk, world: World) -> None:
    world.funded("alice", 1)
    desk.changed("alice", overdraft_limit_minor=MAX_MINOR)
    assert desk.floors("alice") == (-MAX_MINOR, -MAX_MINOR)
    desk.changed("alice", overdraft_limit_minor=0)
    assert desk.floors("alice") == (0, 0)


def test_an_account_that_does_not_exist_cannot_change_and_has_no_changes(desk: Desk, world: World) -> None:
    assert_problem(desk.patch("nobody", name="N."), 404, "account_not_found")
    assert_problem(world.get("/v1/accounts/nobody/changes"), 404, "account_not_found")


def test_changing_needs_the_scope_and_reading_the_changes_another(desk: Desk, world: World) -> None:
    world.account("alice")
    reader, payer = world.key_with(Scope.READ), world.key_with(Scope.PAYMENTS_WRITE)
    assert_problem(desk.patch("alice", key=reader, name="A."), 403, "forbidden")
    assert world.get("/v1/accounts/alice/changes", key=reader).status_code == 200
    assert_problem(world.get("/v1/accounts/alice/changes", key=payer), 403, "forbidden")
    assert_problem(world.get("/v1/accounts/alice/changes?limit=0"), 400, "malformed_request")
    assert_problem(world.get("/v1/accounts/alice/changes?after=x"), 400, "invalid_cursor")


# Preconditions


def test_a_change_based_on_an_older_version_of_the_account_is_refused(desk: Desk, world: World) -> None:
    world.account("alice")
    first = world.get("/v1/accounts/alice").headers["ETag"]
    by_one = desk.patch("alice", headers={"If-Match": first}, name="Alice")
    assert by_one.status_code == 200
    by_other = desk.patch("alice", headers={"If-Match": first}, name="Alicia")
    problem = assert_problem(by_other, 412, "precondition_failed")
    second = by_one.headers["ETag"]
    assert (f'"{problem["current_version"]}"', f'"{problem["expected_version"]}"') == (second, first)
    shown = world.get("/v1/accounts/alice")
    assert (shown.get_json()["name"], shown.headers["ETag"]) == ("Alice", second)
    assert desk.patch("alice", headers={"If-Match": second}, name="Alicia").status_code == 200


def test_a_change_that_is_in_force_may_be_repeated_with_its_precondition(desk: Desk, world: World) -> None:
    world.account("alice")
    first = world.get("/v1/accounts/alice").headers["ETag"]
    change = {"overdraft_limit_minor": 50, "name": "Alice"}
    once = desk.patch("alice", headers={"If-Match": first}, **change)
    again = desk.patch("alice", headers={"If-Match": first}, **change)
    assert (once.status_code, again.status_code) == (200, 200)
    assert once.headers["ETag"] == again.headers["ETag"] != first


def test_payments_do_not_change_the_version_of_the_account_itself(desk: Desk, world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    first = world.get("/v1/accounts/alice").headers["ETag"]
    world.funded("alice", 100)
    assert world.get("/v1/accounts/alice").headers["ETag"] == first
    closing = desk.patch("alice", headers={"If-Match": '"999"'}, status="closed")
    assert_problem(closing, 412, "precondition_failed")
    world.pay("alice", BANK, 100)
    world.drained()
    assert desk.patch("alice", headers={"If-Match": first}, status="closed").status_code == 200


@pytest.mark.parametrize("header", ["alice", "7", 'W/"7"', '"a"', "*", '"1", "2"'])
def test_a_precondition_that_cannot_be_read_is_refused(desk: Desk, world: World, header: str) -> None:
    world.account("alice")
    response = desk.patch("alice", headers={"If-Match": header}, name="Alice")
    assert assert_problem(response, 400, "malformed_request")["field"] == "If-Match"
