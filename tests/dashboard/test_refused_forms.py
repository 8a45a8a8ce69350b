"""Forms that are refused: what was typed stays, and the page around it still leads where it led."""

import re
from html import unescape

import pytest

from app.dashboard.frame import link
from app.domain.journal_proposals import ApprovalMode
from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.test_journal_pages import filled, furnished
from tests.dashboard.test_key_pages import issued, key_id_of, sent
from tests.dashboard.test_statements import month, prepared, ticked, upload
from tests.dashboard.world import Browser, World, text_of
from tests.statements.month import as_camt


def value_of(page: str, field_id: str) -> str:
    """What stands in a field."""
    found = re.search(rf'id="{field_id}"[^>]*? value="([^"]*)"', page)
    assert found is not None, field_id
    return unescape(found[1])


@pytest.fixture
def bank(world: World) -> tuple[World, str]:
    """A statement of the bank that is imported and linked, and its page."""
    prepared(world)
    browser = world.signed_in(Role.CONTROLLER, "cleo")
    upload(browser, as_camt(month()))
    page = browser.send("/statements", "/statements/link", place="0", account_id=BANK).headers["Location"]
    assert browser.send(page, f"{page}/run").status_code == 303
    return world, page


def test_an_upload_that_is_refused_keeps_its_source_and_its_choices(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT)
    refused = upload(browser, "no xml", source="bank of ada", trial="on")
    assert refused.status_code == 422
    assert value_of(refused.text, "source") == "bank of ada"
    assert '<option value="camt" selected>' in refused.text
    assert 'name="trial" checked' in refused.text
    assert 'name="accepts_differences" checked' not in refused.text


def test_a_link_to_an_account_that_is_not_there_keeps_what_was_typed(world: World) -> None:
    prepared(world)
    browser = world.signed_in(Role.CONTROLLER)
    upload(browser, as_camt(month()))
    refused = browser.send("/statements", "/statements/link", place="0", account_id="bank:none", starts_on="2026-01-05")
    assert refused.status_code == 422
    assert value_of(refused.text, "ledger-account") == "bank:none"
    assert value_of(refused.text, "starts-on") == "2026-01-05"


def test_a_match_that_is_refused_keeps_what_was_ticked_and_typed(bank: tuple[World, str]) -> None:
    world, path = bank
    browser = world.signed_in(Role.ACCOUNTANT)
    page = browser.page(path)
    line = ticked(page, "Account charges")
    refused = browser.send(path, f"{path}/match", deed="journal", line=line, journal_account_id="expense:charges")
    assert refused.status_code == 422
    assert value_of(refused.text, "journal-account") == "expense:charges"
    assert re.findall(r'<input type="checkbox"[^>]*value="(\d+)"[^>]* checked>', refused.text) == [line]
    differing = browser.send(path, f"{path}/match", deed="match", line=line, entry=ticked(page, ">c<"), reason="May be")
    assert differing.status_code == 422
    assert value_of(differing.text, "reason") == "May be"
    assert "Lines −1.25 EUR Entries" in text_of(differing.text), "amounts are told as amounts"


def test_a_decision_that_is_refused_keeps_its_reason_in_its_own_form(bank: tuple[World, str]) -> None:
    world, path = bank
    browser = world.signed_in(Role.ACCOUNTANT)
    [action] = set(re.findall(r'action="([^"]+/matches/\d+)', browser.page(path).partition('id="bridge"')[0]))
    first = browser.send(path, action, deed="journal", reason="of the bank", journal_account_id="nothing")
    assert first.status_code == 422
    assert value_of(first.text, f"reason-{action.rpartition('/')[2]}") == "of the bank"
    assert value_of(first.text, "reason") == ""


def test_a_page_with_a_refused_form_still_leads_to_its_filters_and_its_print(bank: tuple[World, str]) -> None:
    world, path = bank
    browser = world.signed_in(Role.ACCOUNTANT)
    refused = browser.send(path, f"{path}/match", deed="match")
    assert refused.status_code == 422
    assert f'<form class="filters" method="get" action="{path}">' in refused.text
    assert f'href="{path}?view=print"' in refused.text
    with world.pages.test_request_context("/statements/accounts/1/matches/7", method="POST"):
        assert link() == "/statements/accounts/1"
    with world.pages.test_request_context("/statements/import?theme=dark", method="POST"):
        assert link(view="print") == "/statements?theme=dark&view=print"


def test_the_reason_of_a_refused_decision_on_a_journal_stays(world: World) -> None:
    strict = furnished(world).with_settings(journal_approval=ApprovalMode.PEOPLE)
    jane = strict.signed_in(Role.ACCOUNTANT, "jane")
    checked = re.search(r'name="checked" value="([^"]+)"', jane.send("/journals/new", **filled()).text)
    assert checked is not None
    proposed = jane.send("/journals/new", **filled(do="submit", checked=checked[1])).headers["Location"]
    refused = jane.send(proposed, do="approve", reason="It is mine")
    assert refused.status_code in (403, 422)
    controller = strict.signed_in(Role.CONTROLLER)
    assert controller.send(proposed, do="withdraw", reason="Not needed").status_code == 422
    assert value_of(controller.send(proposed, do="withdraw", reason="Not needed").text, "reason") == "Not needed"


def test_the_name_of_a_template_stays_while_the_journal_is_tried(world: World) -> None:
    browser: Browser = furnished(world).signed_in(Role.ACCOUNTANT)
    page = browser.send("/journals/new", **filled(template_name="Monthly costs")).text
    assert value_of(page, "template-name") == "Monthly costs"


def test_the_overlap_of_a_refused_rotation_stays(world: World) -> None:
    root = world.signed_in(Role.ADMIN, "root")
    key_id = key_id_of(issued(sent(root, name="checkout", scopes="read")))
    refused = sent(root, f"/keys/{key_id}", do="rotate", overlap="36", password="not mine")
    assert refused.status_code == 422
    assert value_of(refused.text, "overlap") == "36"
