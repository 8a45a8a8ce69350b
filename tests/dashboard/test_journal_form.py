"""The form of a journal: what it shows, what it keeps, and what it says of what is no journal. Nothing is written."""

from html import unescape

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.test_journal_pages import NEW, filled, furnished, legs, tried, value_of
from tests.dashboard.world import Browser, World, rows_of, text_of


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """The accounts, of which no test changes any."""
    return furnished(shared_world)


@pytest.fixture(scope="module")
def accountant(world: World) -> Browser:
    return world.signed_in(Role.ACCOUNTANT)


def test_a_dry_run_shows_the_balances_now_and_then_and_writes_nothing(world: World, accountant: Browser) -> None:
    page = tried(accountant)
    assert rows_of(page, 'id="dry-run"')[1:] == [
        ["expense:fees", "0.00", "+12.50", "12.50", "EUR"],
        [BANK, "50.00", "−12.50", "37.50", "EUR"],
    ]
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]


WRONG = {
    "an unbalanced journal": (
        legs(("expense:fees", "12.50", ""), (BANK, "", "12.40")),
        "Debits are higher by 0.10 EUR; they must be equal in each currency.",
    ),
    "an account that is not there": (legs(("nobody", "1", ""), (BANK, "", "1")), "There is no account 'nobody'."),
    "a leg with both sides": (legs(("expense:fees", "1", "1"), (BANK, "", "1")), "either a debit or a credit"),
    "a leg without a side": (legs(("expense:fees", "", ""), (BANK, "", "1")), "either a debit or a credit"),
    "an amount that is none": (legs(("expense:fees", "x", ""), (BANK, "", "1")), "'x' is not an amount"),
    "an amount of nothing": (legs(("expense:fees", "0", ""), (BANK, "", "1")), "An amount is more than zero"),
    "a cent of yen": (legs(("costs-jpy", "1.5", ""), ("bank-jpy", "", "1.5")), "more decimals than JPY"),
    "an amount beyond all bounds": (legs(("expense:fees", "1e999999", ""), (BANK, "", "1")), "larger than any amount"),
    "one leg": (legs(("expense:fees", "1", "")), "A journal has at least 2 legs."),
    "an account twice": (
        legs(("expense:fees", "1", ""), ("expense:fees", "", "1")),
        "Account 'expense:fees' stands twice",
    ),
}


@pytest.mark.parametrize(("rows", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_journal_is_shown_again_with_what_is_wrong(
    accountant: Browser, rows: dict[str, list[str]], words: str
) -> None:
    response = accountant.send(NEW, **filled(**rows))
    assert response.status_code == 422
    assert words in text_of(response.text)
    assert value_of(response.text, "account_id")[0] == rows["account_id"][0]


def test_a_journal_without_a_reason_or_with_a_time_that_is_none_is_shown_again(
    accountant: Browser,
) -> None:
    assert "Say why" in accountant.send(NEW, **filled(reason=" ")).text
    assert "is not a day or a time" in unescape(accountant.send(NEW, **filled(effective_at="soon")).text)
    assert accountant.send(NEW, **filled(reason="a\x00b")).status_code == 400


def test_a_refusal_for_lack_of_funds_names_the_figures_in_euro(world: World, accountant: Browser) -> None:
    rows = legs(("wallet:ada", "70.00", ""), (BANK, "", "70.00"))
    response = accountant.send(NEW, **filled(**rows))
    assert response.status_code == 422
    text = text_of(response.text)
    assert "Insufficient funds. Nothing was done. insufficient_funds" in text
    assert "Available 50.00 EUR" in text


def test_a_journal_in_two_currencies_balances_in_each(world: World, accountant: Browser) -> None:
    rows = legs(("expense:fees", "1", ""), (BANK, "", "1"), ("costs-jpy", "18,400", ""), ("bank-jpy", "", "18400"))
    page = tried(accountant, **rows)
    assert ["Total JPY balanced", "", "18,400", "18,400", ""] in rows_of(page, 'name="effective_at"')
    assert ["Total EUR balanced", "", "1.00", "1.00", ""] in rows_of(page, 'name="effective_at"')


def test_legs_are_added_and_removed_without_losing_what_was_typed(world: World, accountant: Browser) -> None:
    fields = filled()
    fields.pop("do")
    page = accountant.send(NEW, add="1", **fields).text
    assert value_of(page, "account_id") == ["expense:fees", BANK, ""]
    page = accountant.send(NEW, remove="1", **fields).text
    assert value_of(page, "account_id") == [BANK]
    assert value_of(page, "reason") == ["Processing costs"]
    assert accountant.send(NEW, remove="x", **fields).status_code == 200


def test_a_template_needs_a_name_and_accounts_that_exist(world: World, accountant: Browser) -> None:
    assert "Give the template a name" in accountant.send(NEW, **filled(do="template", template_name="")).text
    rows = legs(("nobody", "1", ""))
    response = accountant.send(NEW, **filled(do="template", template_name="x", **rows))
    assert "A template needs accounts that exist" in text_of(response.text)


def test_what_is_no_journal_has_no_reversal(world: World, accountant: Browser) -> None:
    [(deposit,)] = world.sql("SELECT payment_id FROM ledger_transaction")
    assert accountant.get(f"/journals/{deposit}/reversal").status_code == 404
    assert accountant.get("/journals/proposals/x").status_code == 404
