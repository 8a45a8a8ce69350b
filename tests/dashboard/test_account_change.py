"""Changing accounts on the pages: limit, freeze and close, with a preview and a reason, as the person."""

from typing import Any
from urllib.parse import quote

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.test_journal_pages import hidden
from tests.dashboard.world import Browser, World, rows_of, text_of

PATH = "/account-changes/wallet:ada"


@pytest.fixture
def world(world: World) -> World:
    """A bank, and a wallet with 50.00."""
    world.account(BANK, "asset")
    world.account("wallet:ada")
    world.deposit("wallet:ada", 5_000)
    world.drained()
    return world


@pytest.fixture
def mira(world: World) -> Browser:
    return world.signed_in(Role.CONTROLLER, "mira")


def wish(**more: str) -> dict[str, str]:
    return {"status": "open", "limit": "0.00", "reason": "Asked by the bank", **more}


def changed(browser: Browser, path: str = PATH, **fields: str) -> Any:
    """The answer to the change after its preview."""
    page = browser.send(path, **wish(**fields), do="preview").text
    return browser.send(path, **wish(**fields), do="change", version=hidden(page, "version"))


def test_a_preview_says_what_changes_and_changes_nothing(world: World, mira: Browser) -> None:
    page = mira.send(PATH, **wish(status="frozen", limit="25"), do="preview").text
    assert rows_of(page, 'id="preview"')[1:] == [
        ["Overdraft limit", "0.00 EUR", "25.00 EUR", "Payments may take it to −25.00 EUR."],
        [
            "Status",
            "open",
            "frozen",
            "Every payment from it and to it is refused, from the very next one on.",
        ],
    ]
    assert world.sql("SELECT status FROM account WHERE account_id = 'wallet:ada'") == [("open",)]


def test_a_freeze_is_in_force_for_the_next_payment_and_recorded_as_the_person(world: World, mira: Browser) -> None:
    response = changed(mira, status="frozen")
    assert response.headers["Location"] == "/accounts/wallet:ada"
    page = text_of(mira.page("/accounts/wallet:ada"))
    assert "The account is changed" in page
    assert "Status open → frozen by mira" in page
    assert "“Asked by the bank”" in page
    assert world.pay("wallet:ada", BANK, 100).get_json()["code"] == "account_frozen"
    assert world.sql("SELECT actor, account_id, route FROM audit_call WHERE action = 'account.change'") == [
        ("user:mira", "wallet:ada", "/account-changes/<path:account_id>")
    ]
    assert changed(mira, status="open", reason="All clear").status_code == 303
    assert world.pay("wallet:ada", BANK, 100).status_code == 201
    world.assert_proven()


def test_a_limit_lets_the_balance_fall_and_empty_is_no_limit(world: World, mira: Browser) -> None:
    assert changed(mira, limit="20").status_code == 303
    assert world.pay("wallet:ada", BANK, 7_001).get_json()["code"] == "insufficient_funds"
    assert world.pay("wallet:ada", BANK, 7_000).status_code == 201
    world.drained()
    assert changed(mira, limit="").status_code == 303
    assert world.sql("SELECT overdraft_limit_minor FROM account WHERE account_id = 'wallet:ada'") == [(None,)]
    world.assert_proven()


def test_a_limit_below_what_is_in_use_is_refused_in_figures_and_set_all_the_same_if_insisted_on(
    world: World, mira: Browser
) -> None:
    assert changed(mira, limit="20").status_code == 303
    world.pay("wallet:ada", BANK, 7_000)
    world.drained()
    page = mira.send(PATH, **wish(limit="5"), do="preview").text
    assert "20.00 EUR of an overdraft are in use, more than the new limit." in text_of(page)
    response = changed(mira, limit="5")
    assert response.status_code == 422
    text = text_of(response.text)
    assert "Limit below what is in use. Nothing was done. limit_below_use" in text
    assert "Lowest limit 20.00 EUR" in text
    version = hidden(response.text, "version")
    response = mira.send(PATH, **wish(limit="5"), do="change", version=version, force="1")
    assert response.status_code == 303
    assert world.sql("SELECT overdraft_limit_minor FROM account WHERE account_id = 'wallet:ada'") == [(500,)]


def test_an_account_is_closed_empty_and_for_good(world: World, mira: Browser) -> None:
    page = mira.send(PATH, **wish(status="closed"), do="preview").text
    assert "An account is closed empty. Its balance is 50.00 EUR, and 0.00 EUR are held." in text_of(page)
    response = changed(mira, status="closed")
    assert response.status_code == 422
    assert "Account not empty" in text_of(response.text)
    world.pay("wallet:ada", BANK, 5_000)
    world.drained()
    assert changed(mira, status="closed").status_code == 303
    page = mira.page("/accounts/wallet:ada")
    assert "closed since" in text_of(page)
    assert "/account-changes/" not in page
    response = changed(mira, status="open")
    assert response.status_code == 422
    assert "is closed for good" in text_of(response.text)


def test_a_change_that_somebody_else_has_overtaken_is_not_made(world: World, mira: Browser) -> None:
    page = mira.send(PATH, **wish(status="frozen"), do="preview").text
    assert changed(world.signed_in(Role.CONTROLLER, "kim"), limit="10").status_code == 303
    response = mira.send(PATH, **wish(status="frozen"), do="change", version=hidden(page, "version"))
    assert response.status_code == 422
    assert "Read it again and decide again; nothing was changed." in text_of(response.text)
    assert world.sql("SELECT status FROM account WHERE account_id = 'wallet:ada'") == [("open",)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "frozen", "reason": ""}, "Say why"),
        ({"limit": "x"}, "'x' is not an amount"),
        ({"limit": "-1"}, "zero or more"),
        ({}, "Nothing would change."),
        ({"status": "gone"}, "Nothing would change."),
    ],
)
def test_what_cannot_be_read_is_named_beside_its_field(mira: Browser, fields: dict[str, str], words: str) -> None:
    response = mira.send(PATH, **wish(**fields), do="preview")
    assert response.status_code == 422
    assert words in text_of(response.text)


def test_the_form_is_of_an_account_that_exists_whatever_its_id(world: World, mira: Browser) -> None:
    world.account("a/b c")
    assert mira.get("/account-changes/nobody").status_code == 404
    path = f"/account-changes/{quote('a/b c')}"
    assert changed(mira, path, status="frozen").status_code == 303
    assert world.sql("SELECT status FROM account WHERE account_id = 'a/b c'") == [("frozen",)]
