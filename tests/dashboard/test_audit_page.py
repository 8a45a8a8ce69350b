"""The audit page, and that what people do with the pages is in the audit as their doing."""

import csv
import io
import json
import re
from typing import Any

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.world import World, rows_of, text_of

COLUMNS = ("actor", "method", "route", "path", "status", "code", "action", "account_id", "payment_id", "request", "ip")


@pytest.fixture
def world(world: World) -> World:
    world.account(BANK, "asset")
    world.account("wallet:ada")
    return world


def records(world: World, where: str = "true", *parameters: Any) -> list[dict[str, Any]]:
    """What the audit has of the pages."""
    world.services.recorder.flush()
    query = f"SELECT {', '.join(COLUMNS)} FROM audit_call WHERE key_id IS NULL AND {where} ORDER BY called_at, number"
    return [dict(zip(COLUMNS, row, strict=True)) for row in world.sql(query, *parameters)]


# What is recorded


def test_a_page_that_is_read_is_recorded_as_the_person(world: World) -> None:
    world.signed_in(name="mira").page("/accounts/wallet:ada")
    [found] = records(world, "route = '/accounts/<path:account_id>'")
    assert (found["actor"], found["method"], found["status"]) == ("user:mira", "GET", 200)
    assert (found["path"], found["account_id"]) == ("/accounts/wallet:ada", "wallet:ada")


def test_a_failed_sign_in_is_recorded_under_the_name_that_exists_and_without_the_password(world: World) -> None:
    world.user("mira")
    assert world.browser().sign_in("mira", password="not this one").status_code == 401
    assert world.browser().sign_in("my password, misplaced").status_code == 401
    first, second = records(world, "route = '/sign-in' AND method = 'POST'")
    assert (first["actor"], first["status"], first["code"]) == ("user:mira", 401, "unauthenticated")
    assert (second["actor"], second["request"]) == (None, None)
    assert "not this one" not in str(records(world))
    assert "misplaced" not in str(records(world))


def test_signing_in_and_out_is_recorded_once_each_with_what_it_changed(world: World) -> None:
    browser = world.signed_in(name="mira")
    browser.send("/me", "/sign-out")
    posts = [one["action"] for one in records(world, "actor = 'user:mira' AND method = 'POST'")]
    assert posts == ["sign_in.begin", "sign_in.end"]


def test_who_is_not_signed_in_or_may_not_is_recorded(world: World) -> None:
    world.browser().get("/accounts")
    [found] = records(world, "route = '/accounts'")
    assert (found["actor"], found["status"], found["code"]) == (None, 303, "unauthenticated")
    world.signed_in(name="mira").get("/nothing/there")
    [missing] = records(world, "path = '/nothing/there'")
    assert (missing["status"], missing["code"]) == (404, "not_found")


def test_what_a_form_says_is_recorded_without_its_secrets(world: World) -> None:
    browser = world.signed_in(name="mira")
    browser.send("/me", "/me/second-factor", step="confirm", totp="123456")
    [found] = records(world, "route = '/me/second-factor'")
    assert (found["actor"], json.loads(found["request"])) == ("user:mira", {"step": "confirm"})


def test_files_for_browsers_are_not_recorded_and_links_of_invitations_stay_secret(world: World) -> None:
    path = world.invitation("nora")
    world.browser().get(path)
    world.browser().get("/static/holdfast.css")
    assert [one["path"] for one in records(world, "path NOT LIKE '/v1/%%'")] == ["/invitation/<token>"]


def test_no_address_leads_to_the_host_that_a_request_names(world: World) -> None:
    for path in ("/static//x", "//accounts", "/accounts//x", "/reports//trial-balance", ""):
        environ = {"PATH_INFO": path, "HTTP_HOST": "evil.example"}
        response = world.browser().get("/", environ_overrides=environ)
        assert "evil.example" not in response.headers.get("Location", ""), path


# The page


def test_the_page_lists_calls_of_keys_and_people_the_newest_first(world: World) -> None:
    world.pay(BANK, "wallet:ada", 500, external_id="order-1")
    world.drained()
    world.services.recorder.flush()
    browser = world.signed_in(name="mira")
    page = browser.page("/audit")
    rows = [row[1:5] for row in rows_of(page, 'id="calls"')[1:]]
    assert ["POST /v1/payments" in row[1] for row in rows].count(True) == 1
    [paid] = [row for row in rows if "POST /v1/payments" in row[1]]
    assert paid[0] == "the key “a test”", "by its name, as on every other page"
    assert paid[2] == "201"
    assert paid[3] == f"order-1 {BANK}"
    world.services.recorder.flush()
    again = rows_of(browser.page("/audit"), 'id="calls"')
    assert again[1][1:4] == ["mira", "GET /audit", "200"]


def test_a_call_is_opened_with_its_request_and_answer(world: World) -> None:
    world.post("/v1/accounts", {"account_id": "wallet:bea", "type": "liability", "currency_code": "EUR"})
    browser = world.signed_in(name="mira")
    [address] = re.findall(r'href="(/audit\?[^"#]*open=[^"#]*)#opened', browser.page("/audit?about=wallet:bea"))
    page = browser.page(address.replace("&amp;", "&"))
    assert 'id="opened"' in page
    text = text_of(page)
    assert '"account_id": "wallet:bea"' in text
    assert "Account create" in text
    assert 'aria-current="true"' in page
    alone = text_of(browser.page(address.replace("&amp;", "&").replace("wallet:bea", "nothing")))
    assert '"account_id": "wallet:bea"' in alone, "also where the list does not have it"


def test_of_a_payment_the_answer_is_what_the_ledger_says_now(world: World) -> None:
    world.pay(BANK, "wallet:ada", 500, external_id="order-1")
    world.drained()
    browser = world.signed_in(name="mira")
    [address] = re.findall(r'href="(/audit\?[^"#]*open=[^"#]*)#opened', browser.page("/audit?about=order-1"))
    text = text_of(browser.page(address.replace("&amp;", "&")))
    assert '"status": "posted"' in text
    assert "As the ledger says it now" in text


def test_filters_narrow_by_person_answer_code_and_what_it_is_about(world: World) -> None:
    browser = world.signed_in(name="mira")
    browser.page("/accounts/wallet:ada")
    world.get("/v1/accounts/nobody")
    world.services.recorder.flush()

    def calls(query: str) -> list[str]:
        return [row[2] for row in rows_of(browser.page(f"/audit?{query}"), 'id="calls"')[1:]]

    assert all("/v1/" not in call for call in calls("who=mira"))
    assert any("/accounts/wallet:ada" in call for call in calls("about=wallet:ada&who=user:mira"))
    assert [call for call in calls("answer=refused") if "nobody" in call]
    assert not [call for call in calls("answer=done") if "nobody" in call]
    assert len(calls("code=account_not_found")) == 1
    world.pay("wallet:ada", BANK, 900, external_id="too-much")
    world.services.recorder.flush()
    assert [row[3] for row in rows_of(browser.page("/audit?about=too-much"), 'id="calls"')[1:]] == [
        "422 insufficient_funds"
    ]
    assert "No call fits" in text_of(browser.page("/audit?answer=failed"))
    assert "is none of" in text_of(browser.page("/audit?answer=maybe"))
    assert "is not a day" in text_of(browser.page("/audit?from=yesterday"))


def test_pages_of_the_audit_lead_back_in_time_without_a_gap(world: World) -> None:
    browser = world.signed_in(name="mira")
    for number in range(60):
        world.get(f"/v1/accounts/nobody-{number}")
    world.services.recorder.flush()
    seen: list[str] = []
    path = "/audit?code=account_not_found"
    while path:
        page = browser.page(path)
        seen += [row[2] for row in rows_of(page, 'id="calls"')[1:]]
        older = re.findall(r'<a rel="next" href="([^"]+)"', page)
        path = older[0].replace("&amp;", "&") if older else ""
    assert [int(one.rpartition("-")[2]) for one in seen] == list(range(59, -1, -1))


def test_the_export_has_every_record_of_the_filter(world: World) -> None:
    browser = world.signed_in(name="mira")
    world.get("/v1/accounts/nobody")
    world.services.recorder.flush()
    response = browser.get("/audit?format=csv&code=account_not_found")
    assert response.mimetype == "text/csv"
    [row] = csv.DictReader(io.StringIO(response.text))
    assert (row["path"], row["status"], row["code"]) == ("/v1/accounts/nobody", "404", "account_not_found")


def test_a_record_that_is_none_is_not_found(world: World) -> None:
    browser = world.signed_in(Role.VIEWER, "mira")
    assert browser.get("/audit?open=aud_1_1").status_code == 404
    assert "is not the id of a record" in text_of(browser.page("/audit?open=x"))
