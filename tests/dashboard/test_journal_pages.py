"""Journals on the pages: entering after a dry run, four eyes, reversal and templates."""

import re
from html import unescape
from typing import Any

import pytest

from app.domain.journal_proposals import ApprovalMode
from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.world import Browser, World, rows_of, text_of

NEW = "/journals/new"


def furnished(world: World) -> World:
    """A bank and two expenses in euro, a wallet with 50.00, and two accounts in yen."""
    for name, kind in ((BANK, "asset"), ("expense:fees", "expense"), ("expense:costs", "expense")):
        world.account(name, kind)
    world.account("wallet:ada")
    world.account("bank-jpy", "asset", "JPY")
    world.account("costs-jpy", "expense", "JPY")
    world.deposit("wallet:ada", 5_000)
    world.drained()
    return world


@pytest.fixture
def world(world: World) -> World:
    return furnished(world)


@pytest.fixture
def strict(world: World) -> World:
    """The same where what people enter needs a second person."""
    return world.with_settings(journal_approval=ApprovalMode.PEOPLE)


def legs(*rows: tuple[str, str, str]) -> dict[str, list[str]]:
    """Rows of the form: account, debit, credit."""
    columns = zip(*rows, strict=True)
    return dict(zip(("account_id", "debit", "credit"), map(list, columns), strict=True))


FEES = legs(("expense:fees", "12.50", ""), (BANK, "", "12.50"))


def filled(**more: Any) -> dict[str, Any]:
    return {"external_id": "fees-1", "reason": "Processing costs", "do": "dry_run", **FEES, **more}


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return unescape(found[1])


def value_of(page: str, field: str) -> list[str]:
    return [unescape(one) for one in re.findall(rf'name="{field}"[^>]*? value="([^"]*)"', page)]


def tried(browser: Browser, **fields: Any) -> str:
    """The page after a dry run that passes."""
    response = browser.send(NEW, **filled(**fields))
    assert response.status_code == 200, text_of(response.text)
    return response.text


def entered(browser: Browser, **fields: Any) -> str:
    """Where the form leads after the dry run and the second click."""
    checked = hidden(tried(browser, **fields), "checked")
    response = browser.send(NEW, **filled(**fields, do="submit", checked=checked))
    assert response.status_code == 303, text_of(response.text)
    return response.headers["Location"]


def recorded(world: World, action: str) -> list[tuple[Any, ...]]:
    return world.sql("SELECT actor, external_id, route FROM audit_call WHERE action = %s ORDER BY number", action)


# Entering


def test_a_journal_is_posted_after_its_dry_run_as_the_person(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT, "jane")
    target = entered(browser)
    assert target.startswith("/payments/jrn_")
    assert "12.50 EUR: debit expense:fees, credit clearing:bank" in text_of(browser.page(target))
    assert recorded(world, "journal") == [("user:jane", "fees-1", "/journals/new")]
    assert rows_of(browser.page("/journals"), 'id="posted"')[1][0].startswith("Processing costs")
    world.assert_proven()


def test_nothing_is_posted_without_its_dry_run_or_after_a_change_since(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT)
    assert "Dry run again" in browser.send(NEW, **filled(do="submit")).text
    checked = hidden(tried(browser), "checked")
    changed = filled(do="submit", checked=checked, **legs(("expense:fees", "13.00", ""), (BANK, "", "13.00")))
    page = browser.send(NEW, **changed)
    assert page.status_code == 200
    assert "The journal was changed since its dry run." in text_of(page.text)
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]


def test_sending_the_same_journal_twice_posts_it_once(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT)
    assert entered(browser) == entered(browser)
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(1,)]


def test_a_journal_takes_effect_when_it_says(world: World) -> None:
    entered(world.signed_in(Role.ACCOUNTANT), effective_at="2026-01-31")
    assert world.sql("SELECT effective_at::date::text FROM ledger_transaction WHERE kind = 'journal'") == [
        ("2026-01-31",)
    ]


# Four eyes


def test_what_a_person_enters_waits_for_another_one(strict: World) -> None:
    jane, mira = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.CONTROLLER, "mira")
    target = entered(jane)
    assert target == "/journals/proposals/1"
    assert strict.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    assert "You entered it, so somebody else" in text_of(jane.page(target))
    assert rows_of(mira.page("/journals"), 'id="waiting"')[1][-1] == "you may approve"

    response = mira.send(target, do="approve")

    assert response.status_code == 303
    page = text_of(mira.page(target))
    assert "Approved and posted by mira" in page
    [(actor, metadata, journal_id)] = strict.sql(
        "SELECT actor, metadata, payment_id FROM ledger_transaction WHERE kind = 'journal'"
    )
    assert (actor, metadata) == ("user:mira", {"entered_by": "user:jane"})
    story = text_of(mira.page(f"/payments/{journal_id}"))
    assert "Entered by jane" in story
    assert "Approved by mira" in story
    assert recorded(strict, "journal.propose") == [("user:jane", "fees-1", "/journals/new")]
    assert recorded(strict, "journal") == [("user:mira", "fees-1", "/journals/proposals/<number>")]
    assert rows_of(mira.page("/journals"), 'id="posted"')[1][2] == "jane, mira"
    strict.assert_proven()


def test_nobody_approves_their_own_journal_whatever_their_role(strict: World) -> None:
    for name, role in (("kim", Role.CONTROLLER), ("root", Role.ADMIN)):
        browser = strict.signed_in(role, name)
        target = entered(browser, external_id=f"fees-{name}")
        for wish in ("approve", "return"):
            response = browser.send(target, do=wish, reason="mine")
            assert response.status_code == 422
            assert "another person with the role controller decides" in text_of(response.text)
    assert strict.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    assert strict.sql("SELECT count(*) FROM journal_decision") == [(0,)]


def test_an_accountant_approves_nothing(strict: World) -> None:
    target = entered(strict.signed_in(Role.ACCOUNTANT, "jane"))
    other = strict.signed_in(Role.ACCOUNTANT, "otto")
    assert "deciding needs controller" in text_of(other.page(target))
    assert other.send(target, do="approve").status_code == 403
    assert other.send(target, do="return", reason="no").status_code == 403
    assert other.send(target, do="withdraw").status_code == 422


def test_a_returned_journal_is_entered_again(strict: World) -> None:
    jane, mira = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.CONTROLLER, "mira")
    target = entered(jane)
    assert "Say what is wrong with it" in mira.send(target, do="return").text
    assert mira.send(target, do="return", reason="The invoice says 12.40").status_code == 303
    assert "“The invoice says 12.40”" in text_of(jane.page(target))
    assert mira.send("/journals/proposals/1", "/journals/proposals/1", do="approve").status_code == 422
    [again] = re.findall(r'href="(/journals/new\?proposal=\d+)"', jane.page(target))
    assert value_of(jane.page(again), "debit")[:2] == ["12.50", ""]
    assert recorded(strict, "journal.return") == [("user:mira", "fees-1", "/journals/proposals/<number>")]


def test_whoever_entered_it_withdraws_it_and_nobody_else(strict: World) -> None:
    jane, mira = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.CONTROLLER, "mira")
    target = entered(jane)
    assert "was entered by jane. Nobody else may withdraw it" in text_of(mira.send(target, do="withdraw").text)
    assert jane.send(target, do="withdraw").status_code == 303
    assert "was withdrawn by jane" in text_of(mira.send("/me", target, do="approve").text)
    assert rows_of(jane.page("/journals"), 'id="decided"')[1][3] == "withdrawn by jane"


def test_a_refusal_names_a_key_as_every_page_does(strict: World) -> None:
    entries = [
        {"account_id": account_id, "direction": direction, "amount_minor": 1_250}
        for account_id, direction in (("expense:fees", "debit"), (BANK, "credit"))
    ]
    body = {"external_id": "fees-1", "reason": "Processing costs", "entries": entries}
    number = strict.post("/v1/journal-proposals", body).get_json()["proposal_id"]
    mira, target = strict.signed_in(Role.CONTROLLER, "mira"), f"/journals/proposals/{number}"
    told = "was entered by the key “a test”. Nobody else may withdraw it"
    assert told in text_of(mira.send(target, do="withdraw").text)


def test_a_decided_journal_is_not_decided_again(strict: World) -> None:
    target = entered(strict.signed_in(Role.ACCOUNTANT, "jane"))
    mira, kim = strict.signed_in(Role.CONTROLLER, "mira"), strict.signed_in(Role.CONTROLLER, "kim")
    assert mira.send(target, do="approve").status_code == 303
    for browser in (mira, kim):
        response = browser.send("/me", target, do="approve")
        assert response.status_code == 422
        assert "was approved by mira. It is in the ledger as jrn_" in text_of(response.text)
    assert strict.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(1,)]


def test_a_journal_is_checked_again_when_it_is_approved(strict: World) -> None:
    jane, mira = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.CONTROLLER, "mira")
    target = entered(jane, **legs(("wallet:ada", "40.00", ""), (BANK, "", "40.00")))
    strict.pay("wallet:ada", BANK, 3_000)
    strict.drained()
    assert "would be refused" in text_of(mira.page(target))
    response = mira.send(target, do="approve")
    assert response.status_code == 422
    assert "Insufficient funds" in text_of(response.text)
    assert strict.sql("SELECT count(*) FROM journal_decision") == [(0,)]


def test_the_same_id_waits_once(strict: World) -> None:
    jane, otto = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.ACCOUNTANT, "otto")
    assert entered(jane) == entered(jane) == "/journals/proposals/1"
    checked = hidden(tried(otto), "checked")
    response = otto.send(NEW, **filled(do="submit", checked=checked))
    assert response.status_code == 422
    assert "is that of proposal 1, which was entered by jane and waits." in text_of(response.text)


# Reversal


def test_a_journal_is_reversed_after_a_dry_run(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT, "jane")
    journal = entered(browser).rpartition("/")[2]
    path = f"/journals/{journal}/reversal"
    fields = {"external_id": "undo-1", "reason": "Entered twice"}
    page = browser.send(path, **fields, do="dry_run").text
    assert ["expense:fees", "12.50", "−12.50", "0.00", "EUR"] in rows_of(page, 'id="dry-run"')
    response = browser.send(path, **fields, do="submit", checked=hidden(page, "checked"))
    assert response.status_code == 303
    story = text_of(browser.page(f"/payments/{journal}"))
    assert "Undone" in story
    response = browser.send(path, external_id="undo-2", reason="Again", do="dry_run")
    assert response.status_code == 422
    assert "was reversed by" in text_of(response.text)
    assert "reversed by" in text_of(browser.page("/journals"))
    world.assert_proven()


def test_a_reversal_needs_a_second_person_too(strict: World) -> None:
    jane, mira = strict.signed_in(Role.ACCOUNTANT, "jane"), strict.signed_in(Role.CONTROLLER, "mira")
    assert mira.send(entered(jane), do="approve").status_code == 303
    [(journal,)] = strict.sql("SELECT payment_id FROM ledger_transaction WHERE kind = 'journal'")
    path = f"/journals/{journal}/reversal"
    fields = {"external_id": "undo-1", "reason": "Entered twice"}
    page = jane.send(path, **fields, do="dry_run").text
    target = jane.send(path, **fields, do="submit", checked=hidden(page, "checked")).headers["Location"]
    assert strict.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'reversal'") == [(0,)]
    assert mira.send(target, do="approve").status_code == 303
    assert strict.sql("SELECT actor, metadata ->> 'entered_by' FROM ledger_transaction WHERE kind = 'reversal'") == [
        ("user:mira", "user:jane")
    ]
    strict.assert_proven()


# Templates


def test_a_template_keeps_legs_that_are_entered_again_and_posts_nothing(world: World) -> None:
    browser = world.signed_in(Role.ACCOUNTANT, "jane")
    rows = legs(("expense:fees", "12.50", ""), (BANK, "", ""), ("", "", ""))
    response = browser.send(NEW, **filled(do="template", template_name="Monthly costs", **rows))
    assert response.headers["Location"] == "/journals/new?template=Monthly+costs"
    page = browser.page("/journals/new?template=Monthly+costs")
    assert value_of(page, "account_id") == ["expense:fees", BANK]
    assert value_of(page, "debit") == ["12.50", ""]
    assert value_of(page, "reason") == ["Processing costs"]
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    assert recorded(world, "journal.template") == [("user:jane", None, "/journals/new")]
    assert "Monthly costs" in text_of(browser.page("/journals"))

    browser.send("/journals", "/journals/templates", name="Monthly costs")
    assert browser.get("/journals/new?template=Monthly+costs").status_code == 404
    assert "No template is kept" in text_of(browser.page("/journals"))
    assert world.sql("SELECT version, saved_by FROM journal_template ORDER BY version") == [
        (1, "user:jane"),
        (2, "user:jane"),
    ]


def test_a_long_list_of_journals_has_older_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dashboard.journals.LISTED", 2)
    browser = world.signed_in(Role.ACCOUNTANT)
    for number in range(3):
        entered(browser, external_id=f"fees-{number}")
    page = browser.page("/journals")
    assert len(rows_of(page, 'id="posted"')) == 3
    [older] = re.findall(r'rel="next" href="([^"]+)"', page)
    assert len(rows_of(browser.page(unescape(older)), 'id="posted"')) == 2
