"""Balance sheet and income statement over the API: figures, periods, entities, and the proof that can fail."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.access.api_keys import Scope
from tests.api.world import BANK, World, assert_problem


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """Income of 290, costs of 100; a journal that takes effect in 2020; another entity."""
    world = shared_world
    world.account(BANK, "asset")
    world.account("wallet:ada")
    world.account("fees:card", "revenue")
    world.account("costs:bank", "expense")
    world.account("north:bank", "asset", entity_id="north")
    world.account("north:fees", "revenue", entity_id="north")
    world.deposit("wallet:ada", 40_000)
    world.drained()
    world.pay("wallet:ada", "fees:card", 290)
    world.pay("costs:bank", BANK, 100)
    world.pay("north:bank", "north:fees", 7)
    world.drained()
    entries = [
        {"account_id": BANK, "direction": "debit", "amount_minor": 55},
        {"account_id": "fees:card", "direction": "credit", "amount_minor": 55},
    ]
    journal = {"external_id": "late", "reason": "late", "entries": entries, "effective_at": "2020-01-31T00:00:00Z"}
    assert world.post("/v1/journals", journal).status_code == 201
    return world


def report(world: World, path: str, **options: Any) -> dict[str, Any]:
    response = world.get(f"/v1/reports/{path}", **options)
    assert response.status_code == 200, response.text
    [found] = response.get_json()["data"]
    assert isinstance(found, dict)
    return found


def test_the_balance_sheet_balances_and_is_proved(world: World) -> None:
    found = report(world, "balance-sheet?entity_id=default")
    assert (found["asset_minor"], found["liability_minor"], found["equity_minor"]) == (39_955, 39_710, 0)
    assert (found["result_minor"], found["brought_forward_minor"], found["difference_minor"]) == (245, 0, 0)
    assert found["proof"]["proved"] is True


def test_the_income_statement_counts_a_period_by_the_time_that_is_asked_for(world: World) -> None:
    year = "from=2020-01-01T00:00:00Z&to=2020-12-31T23:59:59Z&entity_id=default"
    early = report(world, f"income-statement?{year}&by=effective")
    assert (early["revenue_minor"], early["expense_minor"], early["result_minor"]) == (55, 0, 55)
    assert early["proof"]["proved"] is True
    assert [one["movement_minor"] for one in early["accounts"]] == [55]
    posted = report(world, f"income-statement?{year}&by=posted")
    assert (posted["result_minor"], posted["accounts"], posted["proof"]["proved"]) == (0, [], True)
    since = report(world, "income-statement?from=2021-01-01T00:00:00Z&entity_id=default&by=effective")
    assert (since["revenue_minor"], since["expense_minor"], since["result_minor"]) == (290, 100, 190)
    assert [one["opening_minor"] for one in since["accounts"]] == [55, 0]


def test_both_reports_agree_with_the_trial_balance_at_any_instant(world: World) -> None:
    for by in ("effective", "posted"):
        for at in ("2020-06-01T00:00:00Z", datetime.now(UTC).isoformat().replace("+00:00", "Z")):
            sheet = report(world, f"balance-sheet?as_of={at}&by={by}")
            lines = world.get(f"/v1/reports/trial-balance?as_of={at}&by={by}").get_json()["data"]
            debit = {one["account_id"]: one["debit_minor"] - one["credit_minor"] for one in lines}
            assert sheet["asset_minor"] == debit[BANK] + debit["north:bank"]
            result = -(debit["fees:card"] + debit["north:fees"] + debit["costs:bank"])
            assert sheet["result_minor"] + sheet["brought_forward_minor"] == result
            assert sheet["proof"]["proved"] is True


def test_a_key_of_an_entity_sees_its_own_figures_alone(world: World) -> None:
    key = world.key_with(Scope.REPORTS_READ, entities=["north"])
    for basis in ("", "?as_of=2099-01-01T00:00:00Z"):
        found = report(world, f"balance-sheet{basis}", key=key)
        assert (found["asset_minor"], found["result_minor"]) == (7, 7)
    assert [one["account_id"] for one in report(world, "income-statement", key=key)["accounts"]] == ["north:fees"]
    assert world.get("/v1/reports/balance-sheet?entity_id=default", key=key).get_json()["data"] == []


def test_what_makes_no_period_is_refused(world: World) -> None:
    backwards = "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert (
        assert_problem(world.get(f"/v1/reports/income-statement?{backwards}"), 400, "malformed_request")["field"]
        == "to"
    )
    end = "as_of=9999-12-31T23:59:59.999Z"
    assert_problem(world.get(f"/v1/reports/balance-sheet?{end}"), 400, "malformed_request")


def test_conflicts_are_listed_by_hour(world: World) -> None:
    world.sql(
        """INSERT INTO conflict_hour (hour, account_id, retries, queued_us) VALUES
        (date_trunc('hour', now()), 'wallet:ada', 3, 2000), (date_trunc('hour', now()), 'north:bank', 2, 0),
        (now() - interval '3 days', 'wallet:ada', 9, 0)"""
    )
    found = world.get("/v1/reports/conflict-hours").get_json()["data"]
    assert [(one["account_id"], one["retries"], one["queued_ms"]) for one in found] == [
        ("wallet:ada", 3, 2),
        ("north:bank", 2, 0),
    ]
    key = world.key_with(Scope.REPORTS_READ, entities=["north"])
    assert [one["account_id"] for one in world.get("/v1/reports/conflict-hours", key=key).get_json()["data"]] == [
        "north:bank"
    ]
    since = f"{datetime.now(UTC) - timedelta(days=4):%Y-%m-%dT%H:%M:%SZ}"
    assert len(world.get(f"/v1/reports/conflict-hours?from={since}").get_json()["data"]) == 3


def test_a_balance_that_its_entries_do_not_explain_fails_the_proof(world: World) -> None:
    """The owner of the database can write anything; the statements do not follow one figure alone."""
    forged = (
        "UPDATE account_balance SET balance_minor = balance_minor + %s, version = version + 1 WHERE account_id = %s"
    )
    world.sql("ALTER TABLE account_balance DISABLE TRIGGER USER")
    try:
        world.sql(forged, 5, "fees:card")
        found = report(world, "income-statement?entity_id=default")
        assert found["proof"]["proved"] is False
        assert found["proof"]["revenue_difference_minor"] == -5
        assert found["proof"]["trial_balance_difference_minor"] == -5
    finally:
        world.sql(forged, -5, "fees:card")
        world.sql("ALTER TABLE account_balance ENABLE TRIGGER USER")
