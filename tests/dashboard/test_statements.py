"""The pages of statements: upload a file, link its account, decide what is left, sign the month off, and reopen it."""

import io
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.world import Browser, World, rows_of, text_of
from tests.statements.month import Month, Movement, Stated, as_camt

DAY = date(2026, 1, 10)
OPENING = Movement("opening", date(2025, 12, 31), 10_000_000, "wallet:ada")


def month() -> Month:
    """Three payments; the bank has two of them, one a day later without its reference, and a charge."""
    payments = [Movement(name, DAY, amount, "wallet:ada") for name, amount in (("a", 500), ("b", 700), ("c", 900))]
    lines = [
        Stated("1", DAY, 500, "a", "Transfer a"),
        Stated("2", DAY + timedelta(days=1), 700, "", "Transfer"),
        Stated("3", DAY, -125, "", "Account charges"),
    ]
    return Month(payments, lines)


def prepared(world: World) -> None:
    world.account(BANK, "asset")
    world.account("expense:charges", "expense")
    world.account("wallet:ada")
    for one in (OPENING, *month().payments):
        moment = f"{one.day}T12:00:00Z"
        assert (
            world.pay(BANK, "wallet:ada", one.amount_minor, external_id=one.reference, effective_at=moment).status_code
            < 300
        )
    world.drained()


def upload(browser: Browser, content: str, name: str = "january.xml", **fields: str) -> Any:
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.page("/statements"))
    assert token is not None
    data = {"csrf_token": token[1], "file": (io.BytesIO(content.encode()), name), "source": "bank", "format": "camt"}
    return browser.client.post("/statements/import", data={**data, **fields}, content_type="multipart/form-data")


def ticked(page: str, words: str) -> str:
    """The value of the box in the row that has these words."""
    assert words in page, text_of(page)
    row = next(one for one in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if words in one and "checkbox" in one)
    found = re.search(r'value="(\d+)"', row)
    assert found is not None
    return found[1]


def test_a_month_goes_from_the_file_to_the_signature_and_to_a_new_version(world: World) -> None:
    prepared(world)
    ann, cleo = world.signed_in(Role.ACCOUNTANT, "ann"), world.signed_in(Role.CONTROLLER, "cleo")
    stored = upload(ann, as_camt(month()))
    assert "3 lines added" in text_of(stored.text)
    assert "imported before" in text_of(upload(ann, as_camt(month())).text)
    linked = cleo.send("/statements", "/statements/link", place="0", account_id=BANK)
    page = linked.headers["Location"]
    assert "Not matched yet" in text_of(ann.page(page))
    assert "not matched yet" in text_of(ann.page("/statements"))
    assert ann.send(page, f"{page}/run").status_code == 303
    assert "Not matched yet" not in text_of(ann.page(page))

    shown = ann.page(page)
    assert "Same amount, up to 3 days apart" in text_of(shown)
    assert {"fee", "missing there"} == {row[2] for row in rows_of(shown, "only-line")[1:-1]} | {
        row[2] for row in rows_of(shown, "only-entry")[1:-1]
    }
    assert "1 suggestion is undecided." in text_of(shown)
    decision = re.search(r'action="([^"]+/matches/\d+)', shown)
    assert decision is not None
    assert ann.send(page, decision[1], deed="confirm").status_code == 303
    charge = ticked(ann.page(page), "Account charges")
    without_reason = ann.send(page, f"{page}/match", deed="journal", line=charge, journal_account_id="expense:charges")
    assert (without_reason.status_code, "Say why" in without_reason.text) == (422, True)
    assert 'value="expense:charges"' in without_reason.text
    assert without_reason.text.count(" checked") == 1
    nothing_ticked = ann.send(page, f"{page}/match", deed="own", reason="I typed this")
    assert (nothing_ticked.status_code, 'value="I typed this"' in nothing_ticked.text) == (422, True)
    assert "/reconciliation/breaks/" in nothing_ticked.text
    fields = {"deed": "journal", "line": charge, "journal_account_id": "expense:charges", "reason": "January"}
    before = world.sql("SELECT count(*) FROM ledger_transaction")
    preview = ann.send(page, f"{page}/match", **fields)
    assert preview.status_code == 200
    assert rows_of(preview.text, 'id="to-post"')[1:] == [["expense:charges", "1.25", ""], [BANK, "", "1.25"]][::-1]
    assert "Dated 2026-01-10, in EUR: “January”" in text_of(preview.text)
    assert world.sql("SELECT count(*) FROM ledger_transaction") == before
    posted = ann.send(page, f"{page}/match", confirmed="1", **fields)
    assert posted.status_code == 303, text_of(posted.text)
    world.drained()
    journal = re.search(r'href="(/payments/[^"]+)" class="id"', ann.page(posted.headers["Location"]))
    assert journal is not None
    assert "expense:charges" in text_of(ann.page(journal[1]))

    assert "1 outstanding item has no owner." in text_of(ann.page(page))
    missing = ticked(ann.page(page), ">c<")
    assert ann.send(page, f"{page}/match", deed="own", entry=missing, reason="asked the bank").status_code == 303
    assert "ann" in rows_of(ann.page(page), "only-entry")[1]
    forbidden = ann.send(page, f"{page}/sign-off", through="2026-01-31")
    assert forbidden.status_code == 403
    assert cleo.send(page, f"{page}/sign-off", through="2026-01-31", remark="January").status_code == 303

    assert "Signed off through 2026-01-31" in text_of(cleo.page(f"{page}?through=2026-01-31"))
    matches = world.sql("SELECT match_id FROM statement_match WHERE state = 'matched' ORDER BY match_id LIMIT 1")
    late = ann.send(page, f"{page}/matches/{matches[0][0]}", deed="undo", reason="a late change")
    assert late.status_code == 422
    assert "is signed off" in text_of(late.text)
    assert cleo.send(page, f"{page}/reopen", reason="the bank has corrected it").status_code == 303
    again = ann.send(page, f"{page}/matches/{matches[0][0]}", deed="undo", reason="a late change")
    assert again.status_code == 303
    assert ann.send(page, f"{page}/run").status_code == 303
    line, entry = ticked(ann.page(page), "Transfer a"), ticked(ann.page(page), ">a<")
    assert ann.send(page, f"{page}/match", deed="match", line=line, entry=entry, reason="right").status_code == 303
    assert cleo.send(page, f"{page}/sign-off", through="2026-01-31", remark="again").status_code == 303
    signed = rows_of(cleo.page(page), 'id="signed"')
    assert [re.findall(r"version (\d)", row[1]) for row in signed[1:]] == [["2"], ["1"], ["1"]]
    assert "in place of record" in signed[1][1]
    audited = {row[0] for row in world.sql("SELECT action FROM audit_call WHERE actor IN ('user:ann', 'user:cleo')")}
    assert {"statement.import", "matching.setup", "match.run", "match.make", "match.undo"} <= audited
    assert {"statement.sign_off", "statement.reopen"} <= audited


@pytest.mark.parametrize("content", ["no xml", ""])
def test_a_file_that_cannot_be_read_is_refused_with_the_cause(world: World, content: str) -> None:
    refused = upload(world.signed_in(Role.ACCOUNTANT), content)
    assert refused.status_code == 422
    assert "Nothing was stored" in text_of(refused.text)


def test_the_page_says_that_a_csv_file_needs_a_mapping(world: World) -> None:
    ann = world.signed_in(Role.ACCOUNTANT)
    command = "python3 -m app statements sources NAME --format csv --options mapping.json"
    assert command in text_of(ann.page("/statements"))
    refused = upload(ann, "Date,Amount\n2026-01-10,1.00\n", "new.csv", source="new", format="csv")
    assert refused.status_code == 422
    assert text_of(refused.text).count(command) == 2


def test_the_form_that_links_offers_the_first_of_the_month_and_the_asset_accounts(world: World) -> None:
    world.account(BANK, "asset")
    world.account("wallet:ada")
    stated = replace(month(), first=date(2026, 1, 3))
    assert upload(world.signed_in(Role.ACCOUNTANT), as_camt(stated)).status_code == 200
    page = world.signed_in(Role.CONTROLLER).page("/statements")
    assert 'placeholder="first day stated" value="2026-01-01"' in page
    assert "the first day stated is 2026-01-03." in text_of(page)
    assert f'<option value="{BANK}">' in page
    assert '<option value="wallet:ada">' not in page


def test_a_trial_shows_the_balances_and_keeps_the_source(world: World) -> None:
    tried = upload(world.signed_in(Role.ACCOUNTANT), as_camt(month()), trial="on")
    said = text_of(tried.text)
    assert "A trial, nothing was stored: 3 lines added" in said
    assert "DE001: opening 100,000.00, 3 lines of +10.75, closing 100,010.75 EUR: proven" in said
    assert 'value="bank"' in tried.text
    assert world.sql("SELECT count(*) FROM statement_import") == [(0,)]


def test_the_total_of_the_ledgers_side_is_that_of_the_bridge_also_with_amounts_that_differ(world: World) -> None:
    prepared(world)
    ann, cleo = world.signed_in(Role.ACCOUNTANT, "ann"), world.signed_in(Role.CONTROLLER, "cleo")
    stated = month()
    stated.lines[0] = replace(stated.lines[0], amount_minor=510)
    upload(ann, as_camt(stated))
    page = cleo.send("/statements", "/statements/link", place="0", account_id=BANK).headers["Location"]
    ann.send(page, f"{page}/run")
    suggestion = re.search(r'action="([^"]+/matches/\d+)', ann.page(page))
    assert suggestion is not None
    ann.send(page, suggestion[1], deed="confirm")
    shown = ann.page(page)
    assert "2, 1 of them with a line that differs" in text_of(shown)
    *_, beside, total = rows_of(shown, 'id="only-entry"')
    assert beside == ["With a line that differs, 1 entry", "+5.00"]
    assert total == ["Not on the statement", "+14.00"]
    assert ["plus what only the ledger has, 2 entries", "14.00"] in rows_of(shown, 'id="bridge"')
