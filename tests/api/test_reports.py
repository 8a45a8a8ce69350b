"""Reports over HTTP: the trial balance."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.test_accounts import walk
from tests.api.world import World, assert_problem


def test_both_sides_of_the_trial_balance_are_equal_and_every_account_stands_on_one(world: World) -> None:
    world.funded("alice", 1_000)
    world.funded("bob", 500)
    world.account("fees", "revenue")
    world.account("capital", "equity", overdraft_limit_minor=None)
    world.account("rent", "expense")
    world.account("usd", currency_code="USD")
    world.pay("alice", "fees", 30)
    world.pay("rent", "capital", 70)
    world.drained()
    report = world.get("/v1/reports/trial-balance").get_json()
    eur, usd = report["totals"]
    assert (eur["currency_code"], usd["currency_code"]) == ("EUR", "USD")
    assert (eur["debit_minor"], eur["credit_minor"], eur["difference_minor"], eur["balanced"]) == (
        1_570,
        1_570,
        0,
        True,
    )
    assert (usd["debit_minor"], usd["credit_minor"], usd["account_count"]) == (0, 0, 1)
    sides = {line["account_id"]: (line["debit_minor"], line["credit_minor"]) for line in report["data"]}
    assert sides == {
        "alice": (0, 970), "bob": (0, 500), "capital": (0, 70), "clearing:bank": (1_500, 0), "fees": (0, 30),
        "rent": (70, 0), "usd": (0, 0),
    }  # fmt: skip


def test_the_trial_balance_is_filtered_and_paged_with_totals_over_all(world: World) -> None:
    for number in range(7):
        world.funded(f"a{number}", 10)
    world.account("there", entity_id="elsewhere")
    lines = walk(world, "/v1/reports/trial-balance", 3)
    assert len(lines) == 9
    page = world.get("/v1/reports/trial-balance?limit=2").get_json()
    assert page["totals"][0]["debit_minor"] == 70
    assert page["totals"][0]["account_count"] == 9
    there = world.get("/v1/reports/trial-balance?entity_id=elsewhere").get_json()
    assert [line["account_id"] for line in there["data"]] == ["there"]
    assert world.get("/v1/reports/trial-balance?currency_code=USD").get_json() == {
        "totals": [], "data": [], "next": None,
    }  # fmt: skip


def test_what_is_pending_is_not_in_the_ledger_yet(world: World) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    world.pay("alice", "bob", 300)
    before = world.get("/v1/reports/trial-balance").get_json()
    assert before["totals"][0]["debit_minor"] == 1_000
    assert [line["credit_minor"] for line in before["data"] if line["account_id"] == "alice"] == [1_000]


def test_no_conflict_is_reported_where_there_was_none(world: World) -> None:
    world.funded("alice", 1_000)
    assert world.get("/v1/reports/conflicts").get_json() == {"data": [], "next": None}


@pytest.mark.parametrize("filters", ["", "&as_of=9000-01-01T00:00:00Z", "&as_of=9000-01-01T00:00:00Z&by=posted"])
def test_the_lines_of_a_walk_add_up_to_its_totals_while_others_post(world: World, filters: str) -> None:
    names = [f"a{number}" for number in range(6)]
    for name in names:
        world.funded(name, 1_000)
    first = world.get(f"/v1/reports/trial-balance?limit=2{filters}").get_json()
    lines, page = first["data"], first
    while page["next"] is not None:
        world.pay(names[-1], names[0], 7)
        world.deposit(names[-1], 5)
        world.funded(f"b{len(lines)}", 3)
        world.drained()
        page = world.get(f"/v1/reports/trial-balance?limit=2&after={quote(page['next'])}{filters}").get_json()
        assert page["totals"] == first["totals"]
        lines += page["data"]
    assert [line["account_id"] for line in lines] == [*names, "clearing:bank"]
    [total] = first["totals"]
    for side in ("debit_minor", "credit_minor"):
        assert sum(line[side] for line in lines) == total[side] == 6_000
    assert total["account_count"] == len(lines)


@pytest.mark.parametrize("cursor", ["alice", "", "W10", "WyJhIiwxXQ", "WyJhIiwxLC0xXQ", "WzEsMSwxXQ", "é", "WyJhIiwx"])
def test_a_cursor_that_is_none_is_refused(world: World, cursor: Any) -> None:
    response = world.get(f"/v1/reports/trial-balance?after={quote(cursor)}")
    assert assert_problem(response, 400, "invalid_cursor")["field"] == "after"
