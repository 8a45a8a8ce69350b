"""Reports as of a moment in the past: which accounts count."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.dashboard.world import World, rows_of, text_of


def test_a_past_trial_balance_counts_the_accounts_of_then_and_those_with_entries_of_then(world: World) -> None:
    browser = world.signed_in()
    path = "/reports/trial-balance?currency_code=CHF&as_of="
    world.account("bank-chf", "asset", "CHF")
    world.account("wallet-chf", "liability", "CHF")
    world.account("idle-chf", "liability", "CHF")
    world.pay("bank-chf", "wallet-chf", 500, currency_code="CHF", effective_at="2020-01-15T00:00:00Z")
    world.drained()
    by_effect = browser.page(f"{path}2020-01-31&by=effective")
    assert rows_of(by_effect, 'id="totals"')[1] == ["CHF", "2", "5.00", "5.00", "0.00", "balanced"]
    assert "2 accounts. Debits must equal credits" in text_of(by_effect)
    assert "No account was open then." in text_of(browser.page(f"{path}2020-01-31&by=posted"))
    now = quote(f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}")
    assert rows_of(browser.page(path + now), 'id="totals"')[1][:2] == ["CHF", "3"]
