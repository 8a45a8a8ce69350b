"""An account's page beside the breaks about it, and a break's page beside the account's entries."""

import re

import pytest

from app.domain.users import Role
from app.wiring.workers import build_reconciler
from tests.api.test_breaks import drift, worker
from tests.dashboard.world import World, rows_of, text_of


@pytest.fixture
def drifted(world: World) -> World:
    """Alice had 200.00 for a moment, has 37.50 by three entries, and 5.00 more in the cache."""
    world.funded("alice", 20_000)
    world.account("bob")
    world.pay("alice", "bob", 16_000)
    world.pay("alice", "bob", 250)
    world.drained()
    build_reconciler(world.settings).run(full=True)
    drift(world, balance=500)
    return world


def test_an_account_whose_cache_differs_says_so_before_and_after_a_run_and_once_it_is_repaired(drifted: World) -> None:
    browser = drifted.signed_in(Role.CONTROLLER)
    page = text_of(browser.page("/accounts/alice"))
    assert "At entry 3 the ledger’s balance is 37.50 EUR, the cache’s 42.50 EUR: a difference of +5.00 EUR." in page
    assert "No run has found it yet" in page
    build_reconciler(drifted.settings).run(full=True)
    page = browser.page("/accounts/alice")
    assert "Break 1 is open: The cache has 5.00 EUR more than the ledger on alice." in text_of(page)
    assert 'href="/reconciliation/breaks/1"' in page
    shown = browser.page("/reconciliation/breaks/1/repair")
    [token] = re.findall(r'name="token" value="(\w+)"', shown)
    assert "nothing should be held" in text_of(shown)
    confirmed = {"token": token, "reason": "A drill.", "seen": "yes"}
    assert browser.send("/reconciliation/breaks/1/repair", **confirmed).status_code == 303
    worker(drifted).run_once()
    page = text_of(browser.page("/accounts/alice"))
    assert "differs from the ledger" not in page
    assert "Break 1 was resolved, repaired: The cache has 5.00 EUR more" in page


def test_the_chart_tells_the_true_extremes_however_short_they_lasted(drifted: World) -> None:
    page = text_of(drifted.signed_in().page("/accounts/alice"))
    assert "EUR; lowest 0.00, highest 200.00, now 37.50" in page
    drifted.sql("ALTER TABLE account DISABLE TRIGGER USER")
    drifted.sql("UPDATE account SET created_at = now() - interval '20 days' WHERE account_id = 'alice'")
    assert "highest 200.00, now 37.50" in text_of(drifted.signed_in().page("/accounts/alice"))


def test_a_breaks_figures_lead_to_the_entries_that_prove_the_ledgers(drifted: World) -> None:
    build_reconciler(drifted.settings).run(full=True)
    page = drifted.signed_in().page("/reconciliation/breaks/1")
    assert re.search(r'href="/accounts/alice\?before=4#entry-3"[^>]*>37.50</a>', page)
    assert re.search(r'href="/accounts/alice"[^>]*>42.50</a>', page)
    assert re.search(r'href="/accounts/alice\?before=4#entry-3"[^>]*>entry 3</a>', page)
    rows = rows_of(page, 'id="leading"')[1:]
    assert [(row[1], *row[3:]) for row in rows] == [
        ("3", "2.50", "", "37.50"), ("2", "160.00", "", "40.00"), ("1", "", "200.00", "200.00"),
    ]  # fmt: skip
    assert "Cache balance 42.50 EUR" in text_of(page)


def test_a_payment_does_not_say_that_cache_and_ledger_agree_while_they_do_not(drifted: World) -> None:
    [(payment_id,)] = drifted.sql("SELECT max(payment_id) FROM ledger_transaction")
    browser = drifted.signed_in()
    assert "and cache and ledger agree" in text_of(browser.page(f"/payments/{payment_id}"))
    build_reconciler(drifted.settings).run(full=True)
    page = browser.page(f"/payments/{payment_id}")
    assert "cache and ledger agree" not in text_of(page)
    assert "In the cache, 1 difference is open" in text_of(page)
    assert re.search(r'<a href="/reconciliation/runs/2">run 2</a>, ended [^<]+, 1 break', page)
