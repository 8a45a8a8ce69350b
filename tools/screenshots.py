#!/usr/bin/env python3
"""Takes pictures of every page of a system of its own, furnished like a small payment company.

    python3 -m tools.screenshots FOLDER [--movements FILE.csv] [--only NAME ...]

Each page is taken in light, dark, on a phone and in print; `--only` names pages, such as `break`, or pictures, such as
`break-dark`. `--movements` is a file for `replay`: with it the accounts have a real history. It needs Playwright
(requirements-dev.txt) and Debian's `chromium`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from app.cache import keys
from app.commands.connection import connected
from app.wiring.cache import build_cache

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse battery"  # noqa: S105 - of people that live for a minute
PATIENCE_S = 600.0

FORMS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
    "print": {"viewport": {"width": 794, "height": 1123}, "color_scheme": "light"},
}


class System:
    """One `up` over a folder of its own."""

    def __init__(self, data_dir: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data_dir = data_dir
        self.address = f"http://127.0.0.1:{self.port}"
        foreign = ("DATABASE_URL", "REDIS_URL")
        environment = {name: value for name, value in os.environ.items() if name not in foreign}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app", "up", "--port", str(self.port), "--data-dir", str(data_dir)],
            cwd=PROJECT,
            env={**environment, "HOLDFAST_JOURNAL_APPROVAL": "people"},
            stdout=subprocess.DEVNULL,
        )

    def wait_ready(self) -> None:
        """Wait until it answers and has invited its admin."""
        until(lambda: self._is_ready() and (self.data_dir / "admin-link").exists())

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return bool(self.call("/readyz")["status"] == "ready")
        return False

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """One request to the API; what it refuses is answered too."""
        key = self.data_dir / "api-key"
        headers = {"Authorization": f"Bearer {key.read_text().strip()}"} if key.exists() else {}
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(self.address + path, data, headers, method=method)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def run(self, *arguments: str) -> str:
        """One command; what it prints."""
        command = [sys.executable, "-m", "app", *arguments, "--data-dir", str(self.data_dir)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > ends:
            raise TimeoutError("it did not become so")
        time.sleep(0.2)


# Furnishing


def furnish(system: System, movements: Path | None) -> None:
    """Accounts, payments in every state, and whatever the file of movements has."""
    for account_id, kind, code, name in ACCOUNTS:
        system.call("/v1/accounts", {"account_id": account_id, "type": kind, "currency_code": code, "name": name})
    for number in range(40):
        wallet, amount = f"wallet:{WALLETS[number % 4]}", 20_000 + 1_750 * number
        pay(system, "bank:eur", wallet, amount, f"top-up-{number:03}", "Top-up")
    until(lambda: bool(system.call("/v1/accounts/wallet:ada/balance")["balance_minor"]))
    time.sleep(2)
    for number in range(120):
        order(system, number)
    for number in range(3):
        pay(system, "wallet:ada", "merchant:orrery", 4_500 + 900 * number, f"hotel-{number}", "Hotel", capture="manual")
    system.call("/v1/webhooks", {"url": "https://localhost.example/hook", "name": "The shop"})
    monitor = {"account_id": "wallet:ada", "measure": "available", "comparison": "below", "threshold_minor": 100_000}
    system.call("/v1/monitors", monitor)
    pay(system, "bank:jpy", "merchant:hoshi", 184_000, "jpy-1", "Tickets", currency_code="JPY")
    if movements is not None:
        system.run("replay", str(movements), "--currency", "CZK")  # its bank is clearing:bank
    time.sleep(2)
    state_what_the_bank_says(system)
    system.run("reconcile", "--full")


def state_what_the_bank_says(system: System) -> None:
    """Import a statement of the bank: all top-ups but the last, and a charge that nobody has booked."""
    today = f"{datetime.now(UTC):%y%m%d}"
    amounts = [20_000 + 1_750 * number for number in range(39)]
    lines = [
        f":61:{today}{today[2:]}C{amount // 100},{amount % 100:02}NTRFtop-up-{number:03}//B{number:06}\r\n:86:Top-up"
        for number, amount in enumerate(amounts)
    ]
    lines.append(f":61:{today}{today[2:]}D12,00NCHGNONREF//B000099\r\n:86:Charges of the month")
    closing = sum(amounts) - 1_200
    head = [":20:HOLDFAST", ":25:DE89370400440532013000", ":28C:00011/001", f":60F:C{today}EUR0,00"]
    text = "\r\n".join([*head, *lines, f":62F:C{today}EUR{closing // 100},{closing % 100:02}", "-", ""])
    file = system.data_dir / "november.sta"
    file.write_text(text)
    system.run("statements", "import", str(file), "--source", "bank", "--format", "mt940")
    system.run("statements", "link", "--source", "bank", "--account", "bank:eur")
    system.run("statements", "match", "--source", "bank")


def drift(system: System, account_id: str, amount_minor: int) -> None:
    """Have the cache say something else than the ledger, and find it."""
    with connected(system.data_dir) as settings:
        cache = build_cache(settings).client
        place = keys.account(cache.partition_of(account_id), account_id)
        version, balance, *rest = str(cache.redis.hget(place, "funds")).split("|")
        cache.redis.hset(place, "funds", "|".join([version, str(int(balance) + amount_minor), *rest]))
    system.run("reconcile", "--full")


ACCOUNTS = (
    ("bank:eur", "asset", "EUR", "Our account at the bank"),
    ("clearing:processor", "asset", "EUR", "What the processor owes us"),
    ("wallet:ada", "liability", "EUR", "Ada"),
    ("wallet:bea", "liability", "EUR", "Bea"),
    ("wallet:cleo", "liability", "EUR", "Cleo"),
    ("wallet:dora", "liability", "EUR", "Dora"),
    ("merchant:lumen", "liability", "EUR", "Lumen, lamps"),
    ("merchant:orrery", "liability", "EUR", "Orrery, hotels"),
    ("merchant:hoshi", "liability", "JPY", "Hoshi, tickets"),
    ("bank:jpy", "asset", "JPY", "Our account in Tokyo"),
    ("fees:card", "revenue", "EUR", "Card fees"),
    ("expense:processing", "expense", "EUR", "Processing costs"),
    ("expense:chargebacks", "expense", "EUR", "Chargebacks"),
    ("equity:capital", "equity", "EUR", "Capital"),
)
WALLETS = ("ada", "bea", "cleo", "dora")


def pay(system: System, source: str, destination: str, amount: int, external_id: str, what: str, **more: Any) -> Any:
    """One payment."""
    body = {
        "source_account_id": source,
        "destination_account_id": destination,
        "amount_minor": amount,
        "currency_code": "EUR",
        "external_id": external_id,
        "description": what,
        **more,
    }
    return system.call("/v1/payments", body)


def order(system: System, number: int) -> None:
    """A purchase of which a fee is kept."""
    amount = 1_900 + 37 * number
    fee = amount * 29 // 1000
    body = {
        "source_account_id": f"wallet:{WALLETS[number % 4]}",
        "destinations": [
            {"account_id": "merchant:lumen", "amount_minor": amount - fee},
            {"account_id": "fees:card", "amount_minor": fee},
        ],
        "amount_minor": amount,
        "currency_code": "EUR",
        "external_id": f"order-{number:04}",
        "description": f"Order {number:04} at Lumen",
        "metadata": {"order": f"{number:04}", "channel": "web" if number % 3 else "shop"},
    }
    system.call("/v1/payments", body)


# People


def sign_in_first(page: Page, system: System) -> None:
    """Take up the invitation of the first admin."""
    take_up(page, (system.data_dir / "admin-link").read_text().strip())


def take_up(page: Page, link: str) -> None:
    """Take an invitation up."""
    page.goto(link)
    page.fill("#password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("main button")
    page.wait_for_url("**/")


def journals(browser: Browser, system: System) -> None:
    """Jane enters journals; one is approved by the admin, one waits, one becomes a template."""
    link = system.run("users", "invite", "jane", "--role", "accountant").strip()
    context = browser.new_context(base_url=system.address)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    take_up(page, link)
    for reason, legs in JOURNALS:
        enter(page, reason, legs)
    page.goto("/journals/new")
    fill(page, *JOURNALS[0])
    page.click("summary:has-text('template')")
    page.fill("#template-name", "Processing costs, monthly")
    page.click("button:has-text('Save the template')")
    context.close()


JOURNALS = (
    (
        "Processor invoice for November",
        (("expense:processing", "1,284.90", ""), ("clearing:processor", "", "1,284.90")),
    ),
    ("Goodwill for wallet:ada", (("expense:chargebacks", "10.00", ""), ("wallet:ada", "", "10.00"))),
    (
        "A chargeback, and the fee that goes with it",
        (
            ("expense:chargebacks", "45.00", ""),
            ("expense:processing", "15.00", ""),
            ("clearing:processor", "", "60.00"),
        ),
    ),
)


def fill(page: Page, reason: str, legs: tuple[tuple[str, str, str], ...]) -> None:
    """Fill in the form of a journal."""
    page.fill("#reason", reason)
    for number, leg in enumerate(legs):
        for name, value in zip(("account_id", "debit", "credit"), leg, strict=True):
            page.locator(f"input[name={name}]").nth(number).fill(value)


def enter(page: Page, reason: str, legs: tuple[tuple[str, str, str], ...]) -> None:
    """Enter a journal up to its approval."""
    page.goto("/journals/new")
    fill(page, reason, legs)
    page.click("button[data-kind=main]:has-text('Dry run')")
    page.click("button:has-text('Send for approval')")


# Pictures

Prepare = Callable[[Page], None]
Wanted = tuple[str, str, Prepare | None]

AFTER_A_DRIFT = frozenset({"overview-break", "account-break", "reconciliation-break", "break", "break-repair"})


def after_a_drift(system: System) -> Iterator[Wanted]:
    """What the pages say of the difference."""
    number = system.call("/v1/breaks?source=inside&state=open")["data"][0]["break_id"]
    yield "overview-break", "/", None
    yield "account-break", "/accounts/wallet:cleo", None
    yield "reconciliation-break", "/reconciliation", None
    yield "break", f"/reconciliation/breaks/{number}", None
    yield "break-repair", f"/reconciliation/breaks/{number}/repair", None


def pages(page: Page, system: System) -> Iterator[Wanted]:
    """Every page: a name, its address, and what is done on it before the picture."""
    payment = system.call("/v1/payments?external_id=order-0117&entity_id=default")["data"][0]["payment_id"]
    yield "sign-in", "/sign-in", None
    yield "overview", "/", None
    yield "accounts", "/accounts", None
    yield "account", "/accounts/wallet:ada", None
    yield "account-change", "/account-changes/wallet:ada?status=frozen", preview_change
    yield "payment", f"/payments/{payment}?verify=1", None
    yield "search", "/search?q=wallet", None
    yield "journals", "/journals", None
    yield "journal-form", "/journals/new", dry_run
    yield "journal-proposal", "/journals/proposals/2", None
    yield "journal", "/payments/jrn_1", None
    yield "trial-balance", "/reports/trial-balance", None
    yield "keys", "/keys", None
    yield "key", f"/keys/{system.call('/v1/keys')['data'][0]['key_id']}", None
    yield "webhook", f"/webhooks/{system.call('/v1/webhooks')['data'][0]['endpoint_id']}", None
    yield "key-form", "/keys/new", None
    yield "me", "/me", None
    for name, address in FURTHER:
        if page.request.get(address).status == 200:
            yield name, address, None


FURTHER = (
    ("balance-sheet", "/reports/balance-sheet"),
    ("income-statement", "/reports/income-statement"),
    ("reconciliation", "/reconciliation"),
    ("run", "/reconciliation/runs/1"),
    ("break-outside", "/reconciliation/breaks/1"),
    ("breaks", "/reconciliation/breaks"),
    ("statements", "/statements"),
    ("statement", "/statements/1"),
    ("matching", "/statements/accounts/1"),
    ("audit", "/audit"),
    ("operations", "/operations"),
    ("events", "/events"),
    ("webhooks", "/webhooks"),
    ("monitors", "/monitors"),
    ("search-amount", "/search?q=229.00"),
    ("journal-reversal", "/journals/jrn_1/reversal"),
    ("audit-call", "/audit?about=order-0117"),
    ("search-nothing", "/search?q=zzz"),
    ("events-earlier", "/events?before=100"),
    ("events-none", "/events?type=payment.expired"),
    ("reference", "/v1/reference"),
)


def preview_change(page: Page) -> None:
    """Ask for a preview."""
    page.fill("#reason", "Asked by the bank, case 2026-118")
    page.click("button:has-text('Preview')")


def dry_run(page: Page) -> None:
    """Fill in a journal and try it."""
    fill(page, *JOURNALS[2])
    page.click("button[data-kind=main]:has-text('Dry run')")


@contextmanager
def window(browser: Browser, system: System, form: str, state: Any) -> Iterator[Page]:
    """A window of this form, in which the admin is signed in."""
    context = browser.new_context(base_url=system.address, storage_state=state, **FORMS[form])
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        yield page
    finally:
        context.close()


def take(browser: Browser, system: System, folder: Path, only: list[str]) -> None:
    """All pictures."""
    context = browser.new_context(base_url=system.address)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    sign_in_first(page, system)
    journals(browser, system)
    page.goto("/journals/proposals/1")
    page.click("button:has-text('Approve and post')")
    state = context.storage_state()
    take_all(browser, system, state, list(pages(page, system)), folder, only)
    if not only or any(is_wanted(name, form, only) for name in AFTER_A_DRIFT for form in FORMS):
        drift(system, "wallet:cleo", 5_000)
        take_all(browser, system, state, list(after_a_drift(system)), folder, only)
    context.close()


def is_wanted(name: str, form: str, only: Sequence[str]) -> bool:
    """Whether a picture is asked for."""
    return not only or name in only or f"{name}-{form}" in only


def take_all(
    browser: Browser, system: System, state: Any, wanted: Sequence[Wanted], folder: Path, only: Sequence[str]
) -> None:
    """These pages in every form."""
    for form in FORMS:
        for name, address, prepare in wanted:
            if not is_wanted(name, form, only):
                continue
            with window(browser, system, form, None if name == "sign-in" else state) as shown:
                picture(shown, address, prepare, form, folder / f"{name}-{form}.png")


def picture(page: Page, address: str, prepare: Prepare | None, form: str, path: Path) -> None:
    """One picture of the whole page."""
    page.goto(address)
    if prepare is not None:
        prepare(page)
    if form == "print":
        page.emulate_media(media="print")
    page.wait_for_timeout(300)
    page.screenshot(path=path, full_page=True)
    print(path)


def main(argv: list[str]) -> int:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--movements", type=Path)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("It needs Debian's chromium.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        system = System(Path(temporary) / "data")
        try:
            system.wait_ready()
            furnish(system, given.movements)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            take(browser, system, given.folder, given.only)
            browser.close()
        finally:
            system.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
