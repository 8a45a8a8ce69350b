"""Balances and trial balances at any instant, by effective and by posted time; and payments dated ahead."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from app.domain.timestamps import rfc3339
from tests.api.world import BANK, World, assert_problem

NOW = datetime.now(UTC)


def at(world: World, account_id: str, moment: str, by: str | None = None) -> int:
    """The balance of an account at an instant."""
    basis = "" if by is None else f"&by={by}"
    response = world.get(f"/v1/accounts/{account_id}/balance?at={quote(moment, safe='')}{basis}")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    assert (body["account_id"], body["currency_code"], body["by"]) == (account_id, "EUR", by or "effective")
    assert "held_minor" not in body
    return int(body["balance_minor"])


def trial(world: World, moment: str, by: str = "effective", **filters: str) -> dict[str, Any]:
    """The trial balance as of an instant."""
    more = "".join(f"&{name}={value}" for name, value in filters.items())
    response = world.get(f"/v1/reports/trial-balance?as_of={quote(moment, safe='')}&by={by}{more}")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


@pytest.fixture
def backdated(world: World) -> World:
    """Alice has got 100 in effect on the 10th, 30 on the 5th, and spent 60 on the 20th, booked in this order."""
    world.account(BANK, "asset")
    world.account("alice")
    world.deposit("alice", 100, effective_at="2026-01-10T12:00:00Z")
    world.drained()
    world.deposit("alice", 30, effective_at="2026-01-05T12:00:00Z")
    world.drained()
    assert world.pay("alice", BANK, 60, effective_at="2026-01-20T12:00:00Z").status_code == 201
    world.drained()
    return world


EFFECTIVE = [
    ("2026-01-05T11:59:59.999Z", 0),
    ("2026-01-05T12:00:00Z", 30),
    ("2026-01-10T11:59:59.999Z", 30),
    ("2026-01-10T12:00:00Z", 130),
    ("2026-01-10T14:00:00+02:00", 130),
    ("2026-01-10T13:59:59+02:00", 30),
    ("2026-01-20T12:00:00.000Z", 70),
    ("9000-01-01T00:00:00Z", 70),
    ("0001-01-01T00:00:00Z", 0),
]


def test_the_balance_at_an_instant_counts_what_had_taken_effect(backdated: World) -> None:
    for moment, balance_minor in EFFECTIVE:
        assert at(backdated, "alice", moment) == balance_minor, moment
        assert at(backdated, BANK, moment, "effective") == balance_minor, moment


def test_the_balance_by_posted_time_is_what_the_ledger_said_then(backdated: World) -> None:
    entries = backdated.get("/v1/accounts/alice/entries").get_json()["data"]
    assert [entry["balance_minor"] for entry in entries] == [100, 130, 70]
    for entry in entries:
        assert at(backdated, "alice", entry["posted_at"], "posted") == entry["balance_minor"]
    just_before = datetime.fromisoformat(entries[0]["posted_at"]) - timedelta(milliseconds=1)
    assert at(backdated, "alice", rfc3339(just_before), "posted") == 0
    assert at(backdated, "alice", "2026-01-31T00:00:00Z", "posted") == 0


def test_a_pending_payment_is_in_no_balance_at_an_instant(backdated: World) -> None:
    backdated.pay("alice", BANK, 5)
    assert at(backdated, "alice", "9000-01-01T00:00:00Z") == 70
    assert backdated.balance("alice")["available_minor"] == 65


def test_an_instant_within_the_shown_millisecond_counts_what_is_shown_there(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    world.deposit("alice", 1, effective_at="2026-01-10T12:00:00.123456Z")
    world.drained()
    [entry] = world.get("/v1/accounts/alice/entries").get_json()["data"]
    assert entry["effective_at"] == "2026-01-10T12:00:00.123Z"
    assert at(world, "alice", entry["effective_at"]) == 1
    assert at(world, "alice", "2026-01-10T12:00:00.122999Z") == 0


@pytest.mark.parametrize("by", ["effective", "posted"])
def test_the_trial_balance_as_of_any_instant_balances_and_agrees_with_the_balances(backdated: World, by: str) -> None:
    entries = backdated.get("/v1/accounts/alice/entries").get_json()["data"]
    for moment in [*(one for one, _ in EFFECTIVE), *(entry["posted_at"] for entry in entries)]:
        report = trial(backdated, moment, by)
        [total] = report["totals"]
        assert (total["difference_minor"], total["balanced"], total["account_count"]) == (0, True, 2)
        lines = {line["account_id"]: line for line in report["data"]}
        alice, bank = at(backdated, "alice", moment, by), at(backdated, BANK, moment, by)
        assert (lines["alice"]["credit_minor"], lines["alice"]["debit_minor"]) == (alice, 0)
        assert (lines[BANK]["debit_minor"], lines[BANK]["credit_minor"]) == (bank, 0)
        assert total["debit_minor"] == sum(line["debit_minor"] for line in report["data"])
        assert total["credit_minor"] == sum(line["credit_minor"] for line in report["data"])


def test_the_trial_balance_as_of_the_end_is_that_of_now(backdated: World) -> None:
    now = backdated.get("/v1/reports/trial-balance").get_json()
    assert trial(backdated, "9000-01-01T00:00:00Z") == now
    assert trial(backdated, "9000-01-01T00:00:00Z", "posted") == now


def test_an_account_made_later_stands_at_zero_or_at_what_was_backdated_into_it(backdated: World) -> None:
    backdated.account("later")
    moment = "2026-01-15T00:00:00Z"
    zero = {line["account_id"]: line["credit_minor"] for line in trial(backdated, moment)["data"]}
    assert zero["later"] == 0
    backdated.deposit("later", 9, effective_at="2026-01-14T00:00:00Z")
    backdated.drained()
    report = trial(backdated, moment)
    assert {line["account_id"]: line["credit_minor"] for line in report["data"]}["later"] == 9
    assert report["totals"][0]["balanced"] is True


def test_the_trial_balance_as_of_an_instant_is_filtered_and_paged_like_that_of_now(backdated: World) -> None:
    backdated.account("dollars", currency_code="USD", entity_id="other")
    report = trial(backdated, "2026-01-15T00:00:00Z", currency_code="EUR", limit="1")
    assert [line["account_id"] for line in report["data"]] == ["alice"]
    report = trial(backdated, "2026-01-15T00:00:00Z", currency_code="EUR", limit="1", after=report["next"])
    assert [line["account_id"] for line in report["data"]] == [BANK]
    report = trial(backdated, "2026-01-15T00:00:00Z", entity_id="other")
    assert [line["account_id"] for line in report["data"]] == ["dollars"]
    assert [total["currency_code"] for total in report["totals"]] == ["USD"]


BAD_TIMES = [
    "yesterday", "", "2026-01-31", "2026-01-31T09:30:00", "20260131T093000Z", "2026-W05-6T00:00:00Z", "1769860800",
    "2026-02-30T00:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T09:30:00+99:00", "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-01:00", "2026-01-31T09:30:00 02:00", "'; DROP TABLE entry; --",
]  # fmt: skip


@pytest.mark.parametrize("moment", BAD_TIMES)
def test_a_time_that_cannot_be_read_is_refused_by_name(shared_world: World, moment: str) -> None:
    shared_world.account("alice")
    for name, path in (("at", "/v1/accounts/alice/balance"), ("as_of", "/v1/reports/trial-balance")):
        problem = assert_problem(shared_world.get(f"{path}?{name}={quote(moment, safe='')}"), 400, "malformed_request")
        assert problem["field"] == name


@pytest.mark.parametrize(
    ("query", "field"),
    [("at=2026-01-01T00:00:00Z&by=booked", "by"), ("by=posted", "at"), ("as_of=2026-01-01T00:00:00Z", "as_of")],
)
def test_the_parameter_by_needs_an_instant_and_knows_two_words(shared_world: World, query: str, field: str) -> None:
    shared_world.account("alice")
    problem = assert_problem(shared_world.get(f"/v1/accounts/alice/balance?{query}"), 400, "malformed_request")
    assert problem["field"] == field


def test_an_unknown_account_has_no_balance_at_any_instant(shared_world: World) -> None:
    path = "/v1/accounts/nobody/balance?at=2026-01-01T00:00:00Z"
    assert_problem(shared_world.get(path), 404, "account_not_found")


@pytest.mark.parametrize(("ahead_s", "accepted"), [(-1, True), (0, True), (60, True), (61, False), (10**9, False)])
def test_a_payment_dated_ahead_is_refused_beyond_what_clocks_differ_by(
    world: World, ahead_s: int, accepted: bool
) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    world.services.now = lambda: NOW
    moment = (NOW + timedelta(seconds=ahead_s)).isoformat()
    response = world.pay(BANK, "alice", 1, effective_at=moment)
    if accepted:
        assert response.status_code == 201, response.text
    else:
        problem = assert_problem(response, 422, "effective_at_in_future")
        assert problem["field"] == "effective_at"
        assert world.drain.cache.outbox.backlog() == dict.fromkeys(range(world.settings.partitions), 0)
