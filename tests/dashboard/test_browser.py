"""The pages of a running system in a real browser: reading, keyboard, phone, print, without scripts, and axe."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.api.world import BANK, payment
from tests.dashboard.world import PASSWORD
from tests.embedded.test_up import System
from tests.patience import PATIENCE_S, until

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PATIENCE_MS = PATIENCE_S * 1000
expect.set_options(timeout=PATIENCE_MS)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")

PAGES = (
    "/",
    "/accounts",
    "/accounts/wallet:ada",
    "/reports/trial-balance",
    "/reports/balance-sheet",
    "/reports/income-statement",
    "/audit",
    "/operations",
    "/search?q=wallet",
    "/search?q=100.00",
    "/payments/PAYMENT",
    "/payments/PAYMENT?verify=1",
    "/journals",
    "/journals/new",
    "/account-changes/wallet:ada",
    "/keys",
    "/keys/new",
    "/events",
    "/webhooks",
    "/webhooks/ENDPOINT",
    "/monitors",
    "/me",
    "/v1/reference",
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("pages") / "data", HOLDFAST_JOURNAL_APPROVAL="people")
    try:
        running.wait_ready()
        seed(running)
        yield running
    finally:
        running.stop()


def call(system: System, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to the API."""
    headers = {"Authorization": f"Bearer {(system.data_dir / 'api-key').read_text().strip()}"}
    data = None if body is None else json.dumps(body).encode()
    headers |= {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(address(system) + path, data, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return json.loads(response.read())


def address(system: System) -> str:
    return f"http://127.0.0.1:{system.port}"


def placed(system: System, path: str) -> str:
    """A path with the id of a payment in its place."""
    if "ENDPOINT" in path:
        [found] = call(system, "/v1/webhooks")["data"]
        return path.replace("ENDPOINT", found["endpoint_id"])
    if "PAYMENT" not in path:
        return path
    [found] = call(system, "/v1/payments?external_id=order-1")["data"]
    return path.replace("PAYMENT", found["payment_id"])


def seed(system: System) -> None:
    """A small ledger."""
    kinds = {BANK: "asset", "wallet:ada": "liability", "merchant:lumen": "liability", "expense:fees": "expense"}
    for account_id, kind in kinds.items():
        call(system, "/v1/accounts", {"account_id": account_id, "type": kind, "currency_code": "EUR"})
    call(system, "/v1/payments", payment(BANK, "wallet:ada", 40_000, external_id="top-up-1", description="Top-up"))
    until(lambda: call(system, "/v1/accounts/wallet:ada/balance")["balance_minor"] == 40_000)
    call(system, "/v1/webhooks", {"url": "https://localhost.example/hook", "name": "The shop"})
    monitor = {"account_id": "wallet:ada", "measure": "available", "comparison": "below", "threshold_minor": 35_000}
    call(system, "/v1/monitors", monitor)
    order = payment("wallet:ada", "merchant:lumen", 10_000, external_id="order-1", description="Order at Lumen")
    call(system, "/v1/payments", order)
    call(system, "/v1/payments", payment("wallet:ada", "merchant:lumen", 500, external_id="auth-1", capture="manual"))
    until(lambda: call(system, "/v1/accounts/wallet:ada/balance")["balance_minor"] == 30_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cookies(system: System, chromium: Chromium) -> Any:
    """The session of the first admin, who takes up the link that `up` prints."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto((system.data_dir / "admin-link").read_text().strip())
    page.fill("#password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("button")
    expect(page).to_have_title("Overview · Holdfast")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(system: System, chromium: Chromium, cookies: Any) -> Iterator[Page]:
    """A page in which the admin is signed in; it fails the test if the browser reports anything."""
    with opened(system, chromium, cookies) as (page, reports):
        yield page
        assert reports == []


class opened:
    """A window of its own, with what the browser reports in it."""

    def __init__(self, system: System, chromium: Chromium, cookies: Any, **options: Any) -> None:
        self.context: BrowserContext = chromium.new_context(
            base_url=address(system), storage_state=cookies, **({"viewport": {"width": 1280, "height": 900}} | options)
        )

    def __enter__(self) -> tuple[Page, list[str]]:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        reports: list[str] = []
        page.on("console", lambda one: reports.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: reports.append(str(error)))
        return page, reports

    def __exit__(self, *_: object) -> None:
        self.context.close()


def found_by_axe(page: Page) -> list[str]:
    """What axe finds serious on a page."""
    page.evaluate(AXE.read_text())
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_the_browser_reports_nothing(
    system: System, chromium: Chromium, cookies: Any, scheme: str
) -> None:
    with opened(system, chromium, cookies, color_scheme=scheme) as (page, reports):
        for path in PAGES:
            page.goto(placed(system, path))
            assert found_by_axe(page) == [], path
        assert reports == []


def test_axe_finds_nothing_serious_before_one_is_signed_in(system: System, chromium: Chromium) -> None:
    with opened(system, chromium, None) as (page, _):
        page.goto("/")
        expect(page).to_have_title("Sign in · Holdfast")
        assert found_by_axe(page) == []


def test_a_controller_goes_from_the_overview_down_to_a_payment(page: Page) -> None:
    page.goto("/")
    page.click("nav >> text=Trial balance")
    expect(page.locator("#totals")).to_be_visible()
    page.click("main >> text=wallet:ada")
    expect(page.locator(".equation .result")).to_contain_text("295.00")
    page.click("text=Order at Lumen")
    expect(page.locator("h1")).to_have_text("100.00 EUR from wallet:ada to merchant:lumen")
    expect(page.locator(".timeline")).to_contain_text("Posted to the ledger")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.goto("/accounts")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("order-1")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("wallet:ada")
    page.locator(".user summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".user a").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".user a").first).to_be_hidden()


def test_the_live_figures_are_asked_for_again(page: Page) -> None:
    page.goto("/")
    with page.expect_response("**/overview/figures", timeout=PATIENCE_MS) as answered:
        pass
    assert answered.value.status == 200
    expect(page.locator("#live-figures")).to_be_visible()


def test_charts_tell_the_value_that_one_points_at(page: Page) -> None:
    page.goto("/accounts/wallet:ada")
    chart = page.locator(".chart-over .u-over")
    expect(chart).to_be_visible()
    chart.hover(position={"x": 600, "y": 20})
    expect(page.locator(".chart figcaption span")).to_contain_text("UTC: EUR")


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_shows_every_page_without_scrolling_sideways(
    system: System, chromium: Chromium, cookies: Any, path: str
) -> None:
    with opened(system, chromium, cookies, viewport={"width": 320, "height": 700}) as (page, _):
        page.goto(placed(system, path))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.click("text=Menu")
        expect(page.locator("#nav")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_can_be_read_without_scripts(system: System, chromium: Chromium, cookies: Any, path: str) -> None:
    with opened(system, chromium, cookies, java_script_enabled=False) as (page, _):
        page.goto(placed(system, path))
        expect(page.locator("main h1")).to_be_visible()
        for chart in page.locator(".chart svg").all():
            expect(chart).to_be_visible()


def test_print_has_who_and_when_on_top_and_no_means_to_act(page: Page) -> None:
    page.goto("/reports/trial-balance")
    page.emulate_media(media="print")
    expect(page.locator(".print-only").first).to_contain_text("by admin (admin)")
    for hidden in (".topbar", ".nav", ".filters", ".actions"):
        expect(page.locator(hidden).first).to_be_hidden()
    page.emulate_media(media="screen")
    page.click("a.button:text('Print')")
    expect(page.locator(".print-only").first).to_be_visible()
    expect(page.locator(".nav")).to_be_hidden()


def test_a_notice_keeps_its_distance_and_print_its_filters(page: Page) -> None:
    page.goto("/reconciliation")
    page.click("button:has-text('Run, new entries')")
    notice = page.locator(".page > p.notice")
    expect(notice).to_be_visible()
    above = page.locator(".page-head").bounding_box()
    assert above is not None
    below = notice.bounding_box()
    assert below is not None
    assert below["y"] >= above["y"] + above["height"] + 8
    page.goto("/accounts?begins_with=wallet")
    page.emulate_media(media="print")
    expect(page.locator(".print-only").first).to_contain_text("Only what was asked for: begins with wallet.")
    expect(page.locator(".pager")).to_contain_text("wallet:ada to wallet:ada")
    expect(page.locator(".pager")).to_be_visible()


def test_signing_out_shows_nothing_any_more(system: System, chromium: Chromium, cookies: Any) -> None:
    with opened(system, chromium, None) as (page, _):
        page.goto("/accounts")
        page.fill("#name", "admin")
        page.fill("#password", PASSWORD)
        page.click("button")
        expect(page.locator("h1")).to_have_text("Accounts")
        page.click(".user summary")
        page.click("text=Sign out")
        expect(page).to_have_title("Sign in · Holdfast")
        page.go_back()
        page.goto("/accounts")
        expect(page).to_have_title("Sign in · Holdfast")


def test_the_paths_of_the_api_stay_the_apis(system: System) -> None:
    assert call(system, "/healthz") == {"status": "alive"}
    assert call(system, "/v1/accounts/wallet:ada")["account_id"] == "wallet:ada"
