"""Work on the pages of a running system in a real browser, without scripts: journals, accounts, evidence, keys."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from app.command_line import PROJECT
from tests.dashboard.test_browser import call, chromium, cookies, opened, placed, pytestmark, system
from tests.dashboard.world import PASSWORD
from tests.embedded.test_up import System

__all__ = ["chromium", "cookies", "pytestmark", "system"]


@pytest.fixture(scope="module")
def accountant(system: System, chromium: Chromium) -> Any:
    """The session of jane, an accountant, who takes up her invitation."""
    command = [sys.executable, "-m", "app", "users", "invite", "jane", "--role", "accountant"]
    asked = subprocess.run(
        [*command, "--data-dir", str(system.data_dir)], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    with opened(system, chromium, None, java_script_enabled=False) as (page, _):
        page.goto(asked.stdout.strip())
        page.fill("#password", PASSWORD)
        page.fill("#repeated", PASSWORD)
        page.click("main button")
        expect(page).to_have_title("Overview · Holdfast")
        return page.context.storage_state()


@pytest.fixture
def jane(system: System, chromium: Chromium, accountant: Any) -> Iterator[Page]:
    """A page without scripts in which the accountant is signed in."""
    with opened(system, chromium, accountant, java_script_enabled=False) as (page, reports):
        yield page
        assert [one for one in reports if "422" not in one] == [], "a form that is refused is answered so"


@pytest.fixture
def admin(system: System, chromium: Chromium, cookies: Any) -> Iterator[Page]:
    """A page without scripts in which the admin is signed in."""
    with opened(system, chromium, cookies, java_script_enabled=False) as (page, reports):
        yield page
        assert reports == []


def test_a_journal_goes_from_its_form_through_two_people_into_the_ledger(jane: Page, admin: Page) -> None:
    jane.goto("/journals")
    jane.click("text=Enter a journal")
    jane.fill("#reason", "Processor invoice")
    for number, (account, debit, credit) in enumerate((("expense:fees", "12.50", ""), ("clearing:bank", "", "12.00"))):
        for name, value in (("account_id", account), ("debit", debit), ("credit", credit)):
            jane.locator(f"input[name={name}]").nth(number).fill(value)
    jane.click("text=Add a leg")
    expect(jane.locator("input[name=account_id]")).to_have_count(5)
    expect(jane.locator("tfoot")).to_contain_text("differs by 0.50")
    jane.click("button[data-kind=main]")
    expect(jane.locator(".notice")).to_contain_text("Debits are higher by 0.50 EUR")
    jane.locator("input[name=credit]").nth(1).fill("12.50")
    jane.locator("#reason").press("Enter")
    expect(jane.locator("#dry-run")).to_be_visible()
    jane.click("text=Send for approval")
    expect(jane.locator(".lede")).to_have_text("Nothing of it is in the ledger yet.")
    expect(jane.locator("button:text('Approve and post')")).to_be_disabled()
    target = jane.url

    admin.goto("/journals")
    admin.click("text=Processor invoice")
    assert admin.url == target
    admin.click("text=Approve and post")
    admin.click("main >> text=jrn_")
    expect(admin.locator("h1")).to_have_text("12.50 EUR: debit expense:fees, credit clearing:bank")
    expect(admin.locator(".timeline")).to_contain_text("Entered by jane")
    expect(admin.locator(".timeline")).to_contain_text("Approved by admin")


def test_an_account_is_frozen_and_unfrozen(system: System, admin: Page) -> None:
    admin.goto("/accounts/merchant:lumen")
    admin.click("main >> text=Freeze")
    admin.fill("#reason", "Asked by the bank")
    admin.click("text=Preview")
    expect(admin.locator("#preview")).to_be_visible()
    admin.click("text=Make the change")
    expect(admin.locator(".lede")).to_contain_text("frozen since")
    assert call(system, "/v1/accounts/merchant:lumen")["status"] == "frozen"
    admin.click("main >> text=Unfreeze")
    admin.fill("#reason", "All clear")
    admin.click("text=Preview")
    admin.click("text=Make the change")
    assert call(system, "/v1/accounts/merchant:lumen")["status"] == "open"


def test_evidence_is_verified_downloaded_and_holds_without_the_server(
    system: System, admin: Page, tmp_path: Path
) -> None:
    admin.goto(placed(system, "/payments/PAYMENT"))
    admin.click("text=Verify")
    expect(admin.locator("#checked")).to_have_text("It holds")
    with admin.expect_download() as downloading:
        admin.click("text=Download the evidence")
    packet = tmp_path / "packet.json"
    downloading.value.save_as(packet)
    heads = tmp_path / "heads.jsonl"
    found = json.loads(packet.read_text())
    heads.write_text("".join(json.dumps(one) + "\n" for one in [*found["keys"], found["chain"]["head"]]))
    command = [sys.executable, "tools/verify_evidence.py", "packet", str(packet), "--head", str(heads)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("HOLDS"), done.stdout


def test_a_key_is_made_used_and_revoked(system: System, admin: Page) -> None:
    admin.goto("/keys")
    admin.click("text=Make a key")
    admin.fill("#name", "checkout")
    admin.check("input[value='accounts:read']")
    admin.fill("#password", PASSWORD)
    admin.click("button:text('Make the key')")
    expect(admin.locator("h1")).to_have_text("This is the only copy of the key")
    key = admin.input_value("#key")
    assert key.startswith("hf_")
    admin.set_viewport_size({"width": 390, "height": 844})
    is_whole = "one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight"
    assert admin.eval_on_selector("#key", is_whole), "a phone shows the whole key"
    admin.set_viewport_size({"width": 1280, "height": 900})
    admin.click("text=I have it")
    assert key not in admin.content()
    admin.click("main >> text=checkout")
    admin.fill("#password", PASSWORD)
    admin.click("text=Revoke for good")
    expect(admin.locator(".lede")).to_contain_text("revoked since")
