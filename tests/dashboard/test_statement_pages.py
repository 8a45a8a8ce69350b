"""Balance sheet and income statement as pages, over a small ledger whose figures are known."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.world import BANK
from tests.dashboard.world import Browser, World, rows_of, text_of


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """A bank, a wallet, a fee of 2.90 and a cost of 1.00; yen without any result."""
    world = shared_world
    world.account(BANK, "asset")
    world.account("wallet:ada")
    world.account("fees:card", "revenue")
    world.account("costs:bank", "expense")
    world.account("bank-jpy", "asset", "JPY")
    world.account("wallet:ren", "liability", "JPY")
    world.deposit("wallet:ada", 40_000)
    world.drained()
    world.pay("wallet:ada", "fees:card", 290)
    world.pay("costs:bank", BANK, 100)
    world.pay("bank-jpy", "wallet:ren", 58_000, currency_code="JPY")
    world.drained()
    return world


def test_the_balance_sheet_balances_in_each_currency_and_is_proved(viewer: Browser) -> None:
    page = viewer.page("/reports/balance-sheet")
    assets = rows_of(page, 'id="bs-EUR"')
    assert assets[1:] == [["Assets", "399.00"], ["Total EUR", "399.00"]]
    claims = rows_of(page.partition('id="bs-EUR"')[2], "</table>")
    assert [row[1] for row in claims[1:]] == ["397.10", "0.00", "0.00", "1.90", "399.00"]
    assert "Proved against the trial balance" in text_of(page)
    assert "Not proved" not in text_of(page)
    assert "58,000" in text_of(page)


def test_the_income_statement_has_revenue_less_expenses(viewer: Browser) -> None:
    page = viewer.page("/reports/income-statement")
    assert rows_of(page, 'id="is-EUR"')[1:] == [
        ["Revenue", "0.00", "2.90", "2.90"],
        ["fees:card", "0.00", "2.90", "2.90"],
        ["Expenses", "0.00", "1.00", "1.00"],
        ["costs:bank", "0.00", "1.00", "1.00"],
        ["Result EUR", "0.00", "1.90", "1.90"],
    ]
    assert 'id="is-JPY"' not in page


def test_what_was_posted_before_the_period_is_brought_forward(viewer: Browser) -> None:
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    query = f"?from={tomorrow}&to=2099-01-01&currency_code=EUR"
    rows = rows_of(viewer.page(f"/reports/income-statement{query}"), 'id="is-EUR"')
    assert rows[-1] == ["Result EUR", "1.90", "0.00", "1.90"]
    sheet = viewer.page(f"/reports/balance-sheet{query}")
    assert [row[1] for row in rows_of(sheet.partition('id="bs-EUR"')[2], "</table>")[3:5]] == ["1.90", "0.00"]


@pytest.mark.parametrize("report", ["balance-sheet", "income-statement"])
def test_a_report_is_the_same_by_either_time_and_in_print(viewer: Browser, report: str) -> None:
    posted, effective = (
        text_of(viewer.page(f"/reports/{report}?by={basis}&to=2099-01-01")) for basis in ("posted", "effective")
    )
    assert "1.90" in posted
    assert "1.90" in effective
    assert "Proved" in effective
    assert 'data-view="print"' in viewer.page(f"/reports/{report}?view=print")


@pytest.mark.parametrize("report", ["balance-sheet", "income-statement"])
def test_what_cannot_be_read_is_said_beside_its_field(viewer: Browser, report: str) -> None:
    assert "is not a day" in viewer.page(f"/reports/{report}?from=soon")
    assert "ends before it begins" in viewer.page(f"/reports/{report}?from=2026-02-01&to=2026-01-01")


def test_the_exports_have_exact_numbers(viewer: Browser) -> None:
    sheet = list(csv.DictReader(io.StringIO(viewer.get("/reports/balance-sheet?format=csv").text)))
    assert {(one["currency_code"], one["line"]): one["amount"] for one in sheet}["EUR", "result"] == "1.90"
    assert {(one["currency_code"], one["line"]): one["amount"] for one in sheet}["JPY", "asset"] == "58000"
    income = list(csv.DictReader(io.StringIO(viewer.get("/reports/income-statement?format=csv").text)))
    assert [(one["account_id"], one["movement"]) for one in income] == [("fees:card", "2.90"), ("costs:bank", "1.00")]
