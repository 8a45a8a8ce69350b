"""What the pages say, over a small ledger whose figures are known."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from app.wiring.workers import build_reconciler
from tests.api.world import BANK
from tests.dashboard.world import Browser, World, rows_of, text_of


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """A bank, two wallets with 300.00 and 12.50, a merchant, a fee, yen, and an entity of its own."""
    world = shared_world
    world.account(BANK, "asset")
    for name in ("wallet:ada", "wallet:bea", "merchant:lumen"):
        world.account(name, name=f"The {name.partition(':')[2]}")
    world.account("fees:card", "revenue")
    world.account("bank-jpy", "asset", "JPY")
    world.account("wallet:ren", "liability", "JPY")
    world.account("north:bank", "asset", entity_id="north")
    world.account("north:wallet", entity_id="north")
    world.deposit("wallet:ada", 40_000, external_id="top-up-1", description="Top-up")
    world.deposit("wallet:bea", 1_250)
    world.drained()
    world.pay(
        "wallet:ada",
        "",
        10_000,
        external_id="order-1",
        description="Order at Lumen",
        destination_account_id=None,
        destinations=[
            {"account_id": "merchant:lumen", "amount_minor": 9_710},
            {"account_id": "fees:card", "amount_minor": 290},
        ],
    )
    world.pay("bank-jpy", "wallet:ren", 58_000, currency_code="JPY")
    world.pay("north:bank", "north:wallet", 500, external_id="north-1")
    world.drained()
    return world


def payment_id(world: World, external_id: str) -> str:
    [(found,)] = world.sql("SELECT payment_id FROM ledger_transaction WHERE external_id = %s", external_id)
    return str(found)


def exported(browser: Browser, path: str) -> list[dict[str, str]]:
    response = browser.get(path)
    assert response.mimetype == "text/csv"
    assert "attachment" in response.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(response.text)))


# Overview


def test_the_overview_says_that_nothing_is_proved_before_a_run_and_which_run_proved_it_after(world: World) -> None:
    browser = world.signed_in()
    assert "Nothing is proved yet." in text_of(browser.page("/"))
    report = build_reconciler(world.settings).run(full=True)
    page = text_of(browser.page("/"))
    assert re.search(rf"The books are right, proved \d\d:\d\d:\d\d\.\d{{3}} UTC by run {report.run_id}\.", page)
    assert "0 transactions were posted since" in page


def test_the_overview_has_the_figures_and_the_charts_in_words(viewer: Browser) -> None:
    page = text_of(viewer.page("/"))
    for words in ("Payments a second", "Time to posted", "Waiting to post 0 nothing waits", "Open breaks 0"):
        assert words in page
    charts = re.findall(r'<svg[^>]*role="img" aria-label="([^"]+)"', viewer.page("/"))
    assert len(charts) == 3
    assert "5 so far today" in charts[2]


def test_the_live_figures_come_alone_when_asked_for(viewer: Browser) -> None:
    part = viewer.page("/overview/figures")
    assert part.lstrip().startswith("<dl")
    assert 'id="live-figures"' in part


def test_a_break_of_the_cache_and_one_of_the_ledger_change_the_sentence(world: World) -> None:
    browser = world.signed_in()

    def recorded(kind: str) -> None:
        world.sql(
            """INSERT INTO reconciliation_break (kind, subject, figures, first_run_id, last_run_id)
            SELECT %s, 'wallet:ada', '{}', max(run_id), max(run_id) FROM reconciliation_run""",
            kind,
        )

    build_reconciler(world.settings).run(full=False)
    recorded("cache_balance")
    assert "The ledger is right; 1 difference in the cache" in text_of(browser.page("/"))
    recorded("balance_not_sum")
    page = browser.page("/")
    assert "The ledger is not right: 1 break" in text_of(page)
    assert 'class="verdict" data-state="wrong"' in page
    assert [row[1] for row in rows_of(page, "Open breaks, next due first")[1:]] == ["wallet:ada", "wallet:ada"]
    world.sql("UPDATE reconciliation_break SET state = 'resolved'")


# Trial balance


def test_the_trial_balance_has_every_account_on_its_side_and_balances_in_each_currency(viewer: Browser) -> None:
    page = viewer.page("/reports/trial-balance")
    totals = rows_of(page, 'id="totals"')
    assert totals[1] == ["EUR", "7", "417.50", "417.50", "0.00", "balanced"]
    assert totals[2] == ["JPY", "2", "58,000", "58,000", "0", "balanced"]
    euro = rows_of(page, 'id="tb-EUR"')
    assert ["Assets", "2 accounts", "417.50", ""] in euro
    assert ["wallet:ada", "2", "", "300.00"] in euro
    assert ["merchant:lumen", "1", "", "97.10"] in euro
    assert euro[-1] == ["Total EUR", "", "417.50", "417.50"]
    assert ["wallet:ren", "1", "", "58,000"] in rows_of(page, 'id="tb-JPY"')


def test_the_trial_balance_of_one_entity_and_one_currency(world: World) -> None:
    browser = world.signed_in()
    browser.get("/preferences?entity_id=north")
    totals = rows_of(browser.page("/reports/trial-balance"), 'id="totals"')
    assert totals[1:] == [["EUR", "2", "5.00", "5.00", "0.00", "balanced"]]
    browser.get("/preferences?entity_id=")
    totals = rows_of(browser.page("/reports/trial-balance?currency_code=JPY"), 'id="totals"')
    assert [row[0] for row in totals[1:]] == ["JPY"]


def test_the_trial_balance_of_accounts_that_begin_alike_need_not_balance(viewer: Browser) -> None:
    page = viewer.page("/reports/trial-balance?account_id=wallet:")
    assert rows_of(page, 'id="totals"')[1] == ["EUR", "2", "0.00", "312.50", "−312.50", "a part"]
    assert "No account was found that begins with" in text_of(viewer.page("/reports/trial-balance?account_id=nobody"))


def test_the_trial_balance_as_of_a_moment_before_everything_has_no_account(viewer: Browser) -> None:
    for basis in ("posted", "effective"):
        page = text_of(viewer.page(f"/reports/trial-balance?as_of=2020-01-31&by={basis}"))
        assert "as of the end of 2020-01-31, by" in page
        assert "No account was open then." in page
    now = quote(f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}")
    page = viewer.page(f"/reports/trial-balance?as_of={now}")
    assert rows_of(page, 'id="totals"')[1][2] == "417.50"


def test_a_moment_that_cannot_be_read_is_named_beside_its_field(viewer: Browser) -> None:
    page = viewer.page("/reports/trial-balance?as_of=yesterday")
    assert 'aria-invalid="true"' in page
    assert "'yesterday' is not a day or a time in UTC" in text_of(page)


@pytest.mark.parametrize("at", ["9999-12-31", "9999-12-31 23:59:59.999999"])
def test_a_moment_at_the_end_of_the_calendar_is_named_beside_its_field(viewer: Browser, at: str) -> None:
    for path in ("/reports/trial-balance?as_of=", "/accounts/wallet:ada?to="):
        assert f"'{at}' is not a day of the calendar." in text_of(viewer.page(path + quote(at))), path
    assert "'9999-12-31' is not a day of the calendar." in text_of(viewer.page("/search?q=9999-12-31"))


@pytest.mark.parametrize("path", ["/search?q=%00", "/accounts/%00", "/payments/%00", "/preferences?entity_id=%00"])
def test_an_address_with_a_nul_is_refused_as_such_and_not_as_a_server_that_is_away(viewer: Browser, path: str) -> None:
    assert viewer.get(path).status_code == 400


def test_the_trial_balance_is_exported_whole(viewer: Browser) -> None:
    rows = exported(viewer, "/reports/trial-balance?format=csv")
    assert len(rows) == 9
    by_account = {row["account_id"]: (row["debit"], row["credit"]) for row in rows}
    assert by_account["wallet:ada"] == ("", "300.00")
    assert by_account[BANK] == ("412.50", "")
    assert by_account["wallet:ren"] == ("", "58000")


# Accounts


def test_the_directory_is_filtered_and_paged(world: World, viewer: Browser) -> None:
    def listed(query: str) -> list[str]:
        return [row[0] for row in rows_of(viewer.page(f"/accounts{query}"), "<h1>Accounts")[1:]]

    assert len(listed("")) == 9
    assert listed("?begins_with=wallet:") == ["wallet:ada", "wallet:bea", "wallet:ren"]
    assert listed("?type=revenue") == ["fees:card"]
    assert listed("?currency_code=JPY") == ["bank-jpy", "wallet:ren"]
    assert listed("?begins_with=wallet:&currency_code=EUR&after=wallet:ada") == ["wallet:bea"]
    assert listed("?status=frozen") == []
    assert "No account fits these filters" in viewer.page("/accounts?status=frozen")
    assert len(exported(viewer, "/accounts?format=csv&type=asset")) == 3
    assert "none of asset" in text_of(viewer.page("/accounts?type=nothing"))


def test_a_long_directory_has_a_next_page(world: World, viewer: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dashboard.account_list.LISTED", 4)
    seen, path = [], "/accounts"
    while path:
        page = viewer.page(path)
        seen += [row[0] for row in rows_of(page, "<h1>Accounts")[1:]]
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == 9
    assert seen == sorted(seen)


def test_an_account_says_what_can_be_spent_and_shows_each_entry_with_its_balance(world: World) -> None:
    page = world.signed_in().page("/accounts/wallet:ada")
    assert "Balance 300.00 Held 0.00 Floor 0.00 Available 300.00 EUR" in text_of(page)
    newest, oldest = rows_of(page, '<h2 id="history">')[1:]
    assert (newest[0], newest[1], *newest[3:]) == ("Order at Lumen", "2", "payment", "order-1", "100.00", "", "300.00")
    assert (oldest[0], oldest[1], *oldest[3:]) == ("Top-up", "1", "payment", "top-up-1", "", "400.00", "400.00")
    assert "Opened by the key “" in text_of(page)


def test_the_chart_of_an_account_begins_when_it_was_opened(world: World) -> None:
    page = world.signed_in().page("/accounts/wallet:ada")
    assert "Balance since the account was opened" in page
    [line] = re.findall(r'class="chart-line" d="([^"]+)"', page)
    assert len(set(re.findall(r"V([\d.]+)", line))) > 1, "it shows more than one balance"
    world.sql("ALTER TABLE account DISABLE TRIGGER USER")
    world.sql("UPDATE account SET created_at = now() - interval '90 days' WHERE account_id = 'wallet:bea'")
    world.sql("ALTER TABLE account ENABLE TRIGGER USER")
    assert "Balance, thirty days" in world.signed_in().page("/accounts/wallet:bea")


def test_open_authorizations_add_up_to_what_is_held(world: World) -> None:
    world.account("wallet:cleo")
    world.deposit("wallet:cleo", 5_000)
    world.drained()
    for number, amount in enumerate((1_200, 650)):
        answer = world.pay("wallet:cleo", "merchant:lumen", amount, external_id=f"auth-{number}", capture="manual")
        assert answer.status_code == 201, answer.text
    world.drained()
    page = world.signed_in().page("/accounts/wallet:cleo")
    assert "Balance 50.00 Held 18.50 Floor 0.00 Available 31.50 EUR" in text_of(page)
    assert "2, together 18.50 EUR held" in text_of(page)
    assert rows_of(page, 'id="authorizations"')[-1] == ["Held", "", "", "", "18.50"]


def test_history_is_filtered_by_day_kind_and_amount(viewer: Browser) -> None:
    def found(query: str) -> list[str]:
        return [row[1] for row in rows_of(viewer.page(f"/accounts/wallet:ada?{query}"), 'id="history"')[1:]]

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert found(f"from={today}&to={today}") == ["2", "1"]
    assert found("to=2020-01-31") == []
    assert found("amount=400") == ["1"]
    assert found("amount=100.00&kind=payment") == ["2"]
    assert found("kind=refund") == []
    assert found("before=2") == ["1"]
    assert "No entry from 1 to 2 fits these filters" in text_of(viewer.page("/accounts/wallet:ada?kind=refund"))
    assert "has more decimals than EUR" in text_of(viewer.page("/accounts/wallet:ada?amount=1.001"))
    rows = exported(viewer, "/accounts/wallet:ada?format=csv")
    assert [(row["entry"], row["debit"], row["credit"], row["balance_EUR"]) for row in rows] == [
        ("2", "100.00", "", "300.00"),
        ("1", "", "400.00", "400.00"),
    ]


def test_an_account_with_a_slash_in_its_id_has_a_page(world: World) -> None:
    world.account("a/b c")
    browser = world.signed_in()
    [address] = re.findall(r'href="(/accounts/a/b[^"]*)"', browser.page("/accounts?begins_with=a/"))
    assert "a/b c" in text_of(browser.page(address))


# Payments and search


def test_a_posted_payment_tells_how_it_came_about(world: World, viewer: Browser) -> None:
    page = viewer.page(f"/payments/{payment_id(world, 'order-1')}")
    text = text_of(page)
    assert "100.00 EUR from wallet:ada to 2 accounts" in text
    for step in ("Asked for", "Posted to the ledger", "Sealed in the chain"):
        assert step in text
    entries = rows_of(page, "Posted to the ledger")
    assert entries[1] == ["wallet:ada", "2", "400.00", "100.00", "", "300.00", "EUR"]
    assert entries[3] == ["fees:card", "1", "0.00", "", "2.90", "2.90", "EUR"]
    assert entries[-1][3:5] == ["100.00", "100.00"]


def test_a_pending_payment_says_what_it_waits_for(world: World) -> None:
    accepted: dict[str, Any] = world.pay("wallet:bea", "merchant:lumen", 250, external_id="waits").get_json()
    text = text_of(world.signed_in().page(f"/payments/{accepted['payment_id']}"))
    assert "Acknowledged as pending" in text
    assert "2.50 EUR are held on wallet:bea" in text
    assert "To be posted" in text
    world.drained()
    assert "Posted to the ledger" in text_of(world.signed_in().page(f"/payments/{accepted['payment_id']}"))


def test_search_opens_what_has_the_id(world: World, viewer: Browser) -> None:
    order = payment_id(world, "order-1")
    for words, target in (
        (order, f"/payments/{order}"),
        ("order-1", f"/payments/{order}"),
        ("north-1", f"/payments/{payment_id(world, 'north-1')}"),
        ("wallet:ada", "/accounts/wallet:ada"),
    ):
        response = viewer.get(f"/search?q={quote(words)}")
        assert response.status_code == 303, words
        assert response.headers["Location"] == target


def test_search_finds_by_the_beginning_of_an_account_by_day_and_by_amount(viewer: Browser) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert "wallet:ada" in text_of(viewer.page("/search?q=wallet"))
    assert "Order at Lumen" in text_of(viewer.page(f"/search?q={today}"))
    for words in ("100.00", "100.00 EUR", f"{today} 100"):
        rows = rows_of(viewer.page(f"/search?q={quote(words)}"), 'id="transactions"')
        assert rows[1][0] == "Order at Lumen", words
        assert rows[1][5:] == ["100.00", "EUR"]
    for words in ("100.00 JPY", "2020-01-31", "2020-01-31 100", "nothing has this", "77.77"):
        assert "Nothing has this id" in text_of(viewer.page(f"/search?q={quote(words)}")), words
