"""A drift in the cache and one in the ledger, planted past the program: found, explained and repaired in a browser.

The running system and the browser are those of `test_browser.py`.
"""
# ruff: noqa: F401, F811 - fixtures are imported

import urllib.request

import psycopg
import pytest
import redis
from playwright.sync_api import Page, expect

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS, partition_of
from app.embedded.attach import announced
from app.embedded.servers import ServerUrls
from tests import hot_state
from tests.dashboard.test_browser import (
    CHROMIUM,
    PATIENCE_MS,
    call,
    chromium,
    cookies,
    found_by_axe,
    page,
    system,
)
from tests.embedded.test_up import System
from tests.patience import until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")

ADA, LUMEN = "wallet:ada", "merchant:lumen"


@pytest.fixture
def urls(system: System) -> ServerUrls:
    """The servers of the running system, as somebody reaches them who goes past the program."""
    running = announced(system.data_dir)
    assert running is not None
    return running.urls


def drift_in_cache(urls: ServerUrls, account_id: str, amount_minor: int) -> None:
    """Somebody writes the cache by hand."""
    cache = redis.Redis.from_url(urls.redis_url, decode_responses=True)
    key = keys.account(partition_of(account_id, DEFAULT_PARTITIONS), account_id)
    hot_state.add(cache, key, balance=amount_minor)
    cache.close()


def drift_in_ledger(urls: ServerUrls, account_id: str, amount_minor: int) -> None:
    """The superuser switches the triggers off and changes a balance."""
    with psycopg.connect(urls.owner_database_url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "UPDATE account_balance SET balance_minor = balance_minor + %s WHERE account_id = %s",
            (amount_minor, account_id),
        )


def run_over(page: Page, what: str) -> None:
    """Ask for a run on the page, and wait until it is done: the page tells what it found by itself."""
    page.goto("/reconciliation")
    with page.expect_navigation():
        page.click(f"text=Run, {what} entries")
    ended = f"over {what} entries, asked for by admin, ended"
    expect(page.locator("main")).to_contain_text(ended)


def test_a_drift_in_the_cache_is_found_explained_and_repaired_through_the_pages_alone(
    system: System,
    urls: ServerUrls,
    page: Page,
) -> None:
    run_over(page, "all")
    expect(page.locator("main")).to_contain_text("No break is open")
    drift_in_cache(urls, ADA, 1_250)
    run_over(page, "all")
    expect(page.locator(".proof")).to_have_text("Ledger right, cache differs")
    assert found_by_axe(page) == []

    page.click("text=cache balance")
    expect(page.locator("h1")).to_have_text(f"The cache has 12.50 EUR more than the ledger on {ADA}")
    expect(page.locator("main")).to_contain_text("only the cache differs")
    expect(page.locator("main")).to_contain_text("what was changed was changed past the program")
    assert found_by_axe(page) == []
    page.select_option("#owner", "admin")
    page.select_option("#state", "investigating")
    page.select_option("#reason-code", "cache_written_by_hand")
    page.fill("#comment", "No posting touched it.")
    page.click("button:text-is('Record')")
    expect(page.locator(".history")).to_contain_text("Given to admin. Reason: cache written by hand.")

    page.click("text=Show what a repair would change")
    expect(page.locator("tbody tr").first).to_contain_text("−12.50")
    assert found_by_axe(page) == []
    page.fill("#why", "Written by hand during a drill")
    page.check("#seen")
    page.click("button:text-is('Repair the cache')")
    expect(page.locator("#repairs")).to_contain_text("found right")
    expect(page.locator(".lede")).to_contain_text("resolved")
    expect(page.locator(".history")).to_contain_text("Repair of the cache asked for.")
    expect(page.locator(".proof")).to_contain_text("Books right at")
    assert call(system, f"/v1/accounts/{ADA}/balance")["balance_minor"] == 30_000


def test_a_drift_in_the_ledger_is_found_and_explained_and_bars_every_repair(
    system: System,
    urls: ServerUrls,
    page: Page,
) -> None:
    drift_in_ledger(urls, LUMEN, 500)
    drift_in_cache(urls, ADA, 3)
    run_over(page, "all")
    expect(page.locator(".proof")).to_have_text("Ledger not right")
    page.click("text=balance not sum")
    expect(page.locator("h1")).to_have_text(
        f"The ledger’s balance of {LUMEN} is 5.00 EUR more than its entries add up to"
    )
    expect(page.locator("main")).to_contain_text("it was changed past the program, or restored in part")
    expect(page.locator("text=Show what a repair would change")).to_have_count(0)
    assert found_by_axe(page) == []
    page.goto("/reconciliation")
    page.click("text=cache balance")
    page.click("text=Show what a repair would change")
    expect(page.locator("main")).to_contain_text("The ledger itself has an open break")
    expect(page.locator("button:text-is('Repair the cache')")).to_have_count(0)

    drift_in_ledger(urls, LUMEN, -500)
    run_over(page, "new")
    expect(page.locator(".proof")).to_have_text("Ledger right, cache differs")
    drift_in_cache(urls, ADA, -3)
    until(lambda: "holdfast_open_breaks 0.0" in metrics(system))
    page.goto("/reconciliation")
    expect(page.locator(".proof")).to_contain_text("Books right at")


def metrics(system: System) -> str:
    key = (system.data_dir / "api-key").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{system.port}/metrics", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_MS / 1000) as response:
        return str(response.read().decode())
