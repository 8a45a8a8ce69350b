"""A month signed off in a real browser, a late change refused, and a new version made."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect, sync_playwright

from tests.dashboard import test_browser as browser
from tests.dashboard.test_statements import OPENING, month
from tests.dashboard.world import PASSWORD
from tests.embedded.test_up import System
from tests.patience import until
from tests.statements.month import as_camt

pytestmark = browser.pytestmark

BANK = "bank:january"
PICTURES = os.environ.get("HOLDFAST_PICTURES")
"""Where to keep pictures of the pages, for people to look at."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("statements") / "data")
    try:
        running.wait_ready()
        seed(running)
        yield running
    finally:
        running.stop()


def seed(system: System) -> None:
    """The ledger's side of the month."""
    for account_id, kind in ((BANK, "asset"), ("wallet:ada", "liability"), ("expense:charges", "expense")):
        browser.call(system, "/v1/accounts", {"account_id": account_id, "type": kind, "currency_code": "EUR"})
    total = 0
    for one in (OPENING, *month().payments):
        moment = {"effective_at": f"{one.day}T12:00:00Z"}
        body = browser.payment(BANK, "wallet:ada", one.amount_minor, external_id=one.reference, **moment)
        browser.call(system, "/v1/payments", body)
        total += one.amount_minor
    until(lambda: browser.call(system, "/v1/accounts/wallet:ada/balance")["balance_minor"] == total)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def signed_in(system: System, chromium: Chromium) -> Any:
    """The session of the first admin."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(browser.PATIENCE_MS)
    page.goto((system.data_dir / "admin-link").read_text().strip())
    page.fill("#password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("button")
    expect(page).to_have_title("Overview · Holdfast")
    state = context.storage_state()
    context.close()
    return state


def test_a_month_is_signed_off_a_late_change_is_refused_and_a_new_version_is_made(
    running: System, chromium: Chromium, tmp_path: Path
) -> None:
    file = tmp_path / "january.xml"
    file.write_text(as_camt(month()))
    cookies = signed_in(running, chromium)
    with browser.opened(running, chromium, cookies) as (page, reports):
        page.goto("/statements")
        page.set_input_files("#file", file)
        page.fill("#source", "bank")
        page.select_option("#format", "camt")
        page.click("button:text('Import')")
        expect(page.locator(".notice")).to_contain_text("3 lines added")
        page.fill("#ledger-account", BANK)
        page.click("button:text('Link')")
        page.click("button:text('Run the rules now')")
        expect(page.locator("#suggested")).to_be_visible()
        look(running, chromium, cookies, page.url)
        page.click(".match button:text-is('Match')")
        expect(page.locator("#suggested")).to_have_count(0)
        tick(page, "Account charges")
        page.fill("#reason", "charges of January")
        page.fill("#journal-account", "expense:charges")
        page.click("text=Post the difference and match")
        expect(page.locator("section[aria-labelledby=to-post]")).to_contain_text("expense:charges")
        page.click("text=Post this journal and match")
        expect(page.locator("#only-line + .note, #only-line")).not_to_have_count(0)
        tick(page, "2026-01-10")
        page.fill("#reason", "the bank is asked")
        page.click("text=Make me the owner")
        sign(page)
        page.click("summary:has-text('of the period')")
        undo = page.locator(".match").filter(has_text="By reference").first
        expect(undo).to_contain_text("Its period is signed off")
        expect(undo.locator("button:text('Unmatch')")).to_have_count(0)
        page.fill("#reopen-reason", "the bank has corrected it")
        page.click("text=Open again for a new version")
        sign(page)
        expect(page.locator("#signed")).to_be_visible()
        expect(page.locator("section[aria-labelledby=signed] tbody tr").first).to_contain_text("version 2")
        look(running, chromium, cookies, page.url, "signed")
        assert [one for one in reports if "422" not in one] == []


def tick(page: Page, words: str) -> None:
    """Choose the first row that says so."""
    page.locator("tr:has(input[type=checkbox])").filter(has_text=words).first.locator("input").check()


def sign(page: Page) -> None:
    page.fill("#remark", "January")
    page.click("button:has-text('Sign off 2026-01-01')")
    expect(page.locator("section[aria-labelledby=signed] tbody tr").first).to_contain_text("version")
    page.goto(f"{page.url.partition('?')[0].partition('#')[0]}?through=2026-01-31")
    expect(page.locator("section[aria-labelledby=sign-off]")).to_contain_text("Signed off through 2026-01-31")


def look(system: System, chromium: Chromium, cookies: Any, url: str, name: str = "open") -> None:
    """Nothing serious for axe in both schemes, no scrolling sideways on a phone; a picture of each, if wanted."""
    address = browser.address(system)
    shown: dict[str, dict[str, Any]] = {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "phone": {"viewport": {"width": 320, "height": 700}},
    }
    for view, options in shown.items():
        with browser.opened(system, chromium, cookies, **options) as (page, _):
            for path in (url.removeprefix(address), "/statements", "/statements/1"):
                page.goto(path)
                if view == "phone":
                    assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
                else:
                    assert browser.found_by_axe(page) == [], path
                picture(page, f"{name}-{view}-{path.strip('/').replace('/', '-').partition('?')[0]}")
            if view == "light":
                page.goto(url)
                page.emulate_media(media="print")
                picture(page, f"{name}-print")


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)
