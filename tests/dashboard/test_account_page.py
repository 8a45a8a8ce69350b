"""The page of an account says at once when its balance is in doubt, and leads to what explains it."""

import re

from app.wiring.workers import build_reconciler
from tests.api.test_breaks import drift
from tests.dashboard.world import World, text_of


def test_a_balance_that_is_wrong_in_the_cache_is_told_before_and_after_a_run_finds_it(world: World) -> None:
    world.funded("alice", 40_000)
    build_reconciler(world.settings).run(full=True)
    browser = world.signed_in()
    page = browser.page("/accounts/alice")
    assert "differs from the ledger" not in page
    drift(world, balance=-1_250)
    build_reconciler(world.settings).run(full=False)  # looks at what is new, and nothing is
    page = text_of(browser.page("/accounts/alice"))
    assert "the ledger’s balance is 400.00 EUR, the cache’s 387.50 EUR" in page
    assert "No run has found it yet" in page
    build_reconciler(world.settings).run(full=True)
    page = browser.page("/accounts/alice")
    assert "Break 1 is open: The cache has 12.50 EUR less than the ledger on alice" in text_of(page)
    assert 'href="/reconciliation/breaks/1"' in page
    assert "No run has found it yet" not in page


def test_an_account_without_an_entry_differs_from_nothing(world: World) -> None:
    world.account("wallet:new")
    browser = world.signed_in()
    assert "differs from the ledger" not in browser.page("/accounts/wallet:new")
    drift(world, "wallet:new", balance=1)
    assert "a difference of +0.01 EUR" in text_of(browser.page("/accounts/wallet:new"))


def test_the_figures_of_a_report_lead_to_the_entries_of_its_period(world: World) -> None:
    world.account("fees:card", "revenue")
    world.funded("alice", 40_000)
    world.pay("alice", "fees:card", 290)
    world.drained()
    browser = world.signed_in()
    page = browser.page("/reports/income-statement?from=2026-01-01&to=2099-01-01")
    [entries] = re.findall(r'href="(/accounts/fees:card\?[^"]+#history)"', page)
    history = text_of(browser.page(entries.replace("&amp;", "&").partition("#")[0]))
    assert "2.90" in history.partition("History")[2]
    sheet = browser.page("/reports/balance-sheet?from=2026-01-01&to=2099-01-01")
    trial = re.findall(r'href="([^"]+)#tb-EUR-liability"', sheet)
    assert 'id="tb-EUR-liability"' in browser.page(trial[0].replace("&amp;", "&"))
    former = re.findall(r'href="(/reports/income-statement[^"]+)">Result brought forward', sheet)
    assert "2025-12-31 23:59:59.999" in browser.page(former[0].replace("&amp;", "&"))
    assert browser.get("/reports/balance-sheet?from=0001-01-01").status_code == 200
