"""Ids: one text is one id. What looks like another one, or what a proxy would rewrite, is refused with its reason."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from app.domain.accounts import DEFAULT_ENTITY
from app.domain.money import Asset
from app.ledger.accounts import LedgerAccounts
from app.wiring.services import build_engine
from tests.api.world import BANK, World, assert_problem, payment

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def refused(world: World, path: str, body: Any, field: str) -> None:
    """The form of an id is the reason, and the field is named."""
    problem = assert_problem(world.post(path, body), 422, "invalid_id")
    assert problem["field"] == field
    assert "Normalization Form C" in problem["detail"]


def path_of(account_id: str) -> str:
    return f"/v1/accounts/{quote(account_id, safe='')}"


def keep_from_before(world: World, account_id: str) -> None:
    """An account as earlier versions created it, under an id that is refused today."""
    wanted = {"account_id": account_id, "entity_id": DEFAULT_ENTITY, "type": "liability", "currency_code": "EUR"}
    LedgerAccounts(build_engine(world.settings, "tests"), world.settings.partitions).create(
        {**wanted, "name": None, "overdraft_limit_minor": 0, "metadata": None}, "tests", Asset("EUR", 2, "Euro")
    )


@pytest.fixture
def both(shared_world: World) -> World:
    """The bank, and an account with a composed id."""
    shared_world.account(BANK, "asset")
    shared_world.account(COMPOSED)
    return shared_world


def test_a_decomposed_id_is_refused_wherever_one_enters(both: World) -> None:
    account = {"account_id": DECOMPOSED, "type": "liability", "currency_code": "EUR"}
    refused(both, "/v1/accounts", account, "account_id")
    refused(both, "/v1/accounts", {**account, "account_id": "x", "entity_id": DECOMPOSED}, "entity_id")
    refused(both, "/v1/payments", payment(BANK, COMPOSED, external_id=DECOMPOSED), "external_id")
    refused(both, "/v1/payments", payment(DECOMPOSED, BANK), "source_account_id")
    refused(both, "/v1/payments", payment(BANK, DECOMPOSED), "destination_account_id")
    split = {**payment(BANK, ""), "destinations": [{"account_id": DECOMPOSED, "remainder": True}]}
    del split["destination_account_id"]
    refused(both, "/v1/payments", split, "destination_account_id")
    lines = [
        {"account_id": BANK, "direction": "debit", "amount_minor": 1},
        {"account_id": DECOMPOSED, "direction": "credit", "amount_minor": 1},
    ]
    journal = {"external_id": "j", "reason": "r", "entries": lines}
    refused(both, "/v1/journals", journal, "account_id")
    refused(both, "/v1/journals", {**journal, "external_id": DECOMPOSED}, "external_id")
    refused(both, "/v1/journals/jou_1_1/reversal", {"external_id": DECOMPOSED, "reason": "r"}, "external_id")
    refused(both, "/v1/payments/pay_1_1_1/refunds", {"external_id": DECOMPOSED}, "external_id")


def test_a_decomposed_id_is_refused_in_batches_and_streams(both: World) -> None:
    one = payment(BANK, COMPOSED, external_id=DECOMPOSED)
    for atomic in (False, True):
        [item] = both.post("/v1/payments/batch", {"payments": [one], "atomic": atomic}).get_json()["data"]
        assert (item["status"], item["problem"]["code"]) == (422, "invalid_id")
    headers = {"Authorization": f"Bearer {both.key}"}
    streamed = both.application.test_client().post(
        "/v1/payments/batch", data=json.dumps(one) + "\n", content_type="application/x-ndjson", headers=headers
    )
    assert json.loads(streamed.text)["problem"]["code"] == "invalid_id"


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/accounts/{quote(DECOMPOSED)}",
        f"/v1/accounts/{quote(DECOMPOSED)}/balance",
        f"/v1/accounts/{quote(DECOMPOSED)}/balance?at=2026-01-01T00:00:00Z",
        f"/v1/accounts/{quote(DECOMPOSED)}/entries",
        f"/v1/accounts/{quote(DECOMPOSED)}/changes",
        f"/v1/accounts?entity_id={quote(DECOMPOSED)}",
        f"/v1/payments?external_id={quote(DECOMPOSED)}",
        f"/v1/payments?external_id=x&entity_id={quote(DECOMPOSED)}",
        f"/v1/reports/trial-balance?entity_id={quote(DECOMPOSED)}",
    ],
)
def test_a_question_about_a_decomposed_id_says_why_nothing_is_found(both: World, path: str) -> None:
    assert "Normalization Form C" in assert_problem(both.get(path), 422, "invalid_id")["detail"]


def test_a_change_of_a_decomposed_id_changes_nothing(both: World) -> None:
    response = both.call("PATCH", path_of(DECOMPOSED), data=b'{"name": "x"}', content_type="application/json")
    assert_problem(response, 422, "invalid_id")
    assert both.get(path_of(COMPOSED)).get_json()["name"] is None


def test_a_retry_in_the_other_form_does_not_pay_twice(both: World) -> None:
    before = both.sql("SELECT count(*) FROM ledger_transaction")[0][0]
    assert both.post("/v1/payments", payment(BANK, COMPOSED, external_id="d\u00e9j\u00e0")).status_code == 201
    retried = both.post("/v1/payments", payment(BANK, COMPOSED, external_id="de\u0301ja\u0300"))
    assert_problem(retried, 422, "invalid_id")
    both.drained()
    assert both.sql("SELECT count(*) FROM ledger_transaction") == [(before + 1,)]


@pytest.mark.parametrize("account_id", [DECOMPOSED, ".", "..", "a//b", "/leading", "trailing/", "a/./b", "a/../b", "/"])
def test_an_account_from_before_the_rules_stays_reachable(both: World, account_id: str) -> None:
    keep_from_before(both, account_id)
    path = path_of(account_id)
    assert both.get(path).get_json()["account_id"] == account_id
    both.deposit(account_id, 5)
    lines = [
        {"account_id": BANK, "direction": "debit", "amount_minor": 2},
        {"account_id": account_id, "direction": "credit", "amount_minor": 2},
    ]
    journal = {"external_id": f"journal {path}", "reason": "r", "entries": lines}
    assert both.post("/v1/journals", journal).status_code == 201
    both.drained()
    assert both.get(f"{path}/balance").get_json()["balance_minor"] == 7
    assert len(both.get(f"{path}/entries").get_json()["data"]) == 2
    assert both.pay(account_id, BANK, 7).status_code == 201
    both.drained()
    change = {"status": "closed", "reason": "moved to an id that proxies leave alone"}
    closed = both.call("PATCH", path, data=json.dumps(change), content_type="application/json")
    assert closed.get_json()["status"] == "closed", closed.text
    assert account_id in [one["account_id"] for one in both.get("/v1/accounts?limit=1000").get_json()["data"]]


@pytest.mark.parametrize(
    "account_id",
    [".", "..", "a//b", "/leading", "trailing/", "a/", "/", "//", "a/./b", "a/../b", "../a", "a/..", "a/b//c"],
)
def test_an_account_id_that_a_proxy_would_rewrite_is_refused(both: World, account_id: str) -> None:
    body = {"account_id": account_id, "type": "asset", "currency_code": "EUR"}
    problem = assert_problem(both.post("/v1/accounts", body), 422, "invalid_id")
    assert problem["field"] == "account_id"
    assert "segment" in problem["detail"]


@pytest.mark.parametrize("account_id", ["...", "a/b/c", ".a", "a.", "a/.b", "a/b..", "..a", "a\\b", "~", "%2e%2e"])
def test_an_account_id_that_stays_as_it_is_in_a_path_is_accepted(both: World, account_id: str) -> None:
    both.account(account_id)
    assert both.get(path_of(account_id)).get_json()["account_id"] == account_id


def test_ids_of_other_things_than_accounts_may_contain_slashes_and_dots(both: World) -> None:
    for external_id in ("..", "a//b", "/"):
        assert both.pay(BANK, COMPOSED, external_id=external_id).status_code == 201
        found = both.get(f"/v1/payments?external_id={quote(external_id, safe='')}").get_json()
        assert [one["external_id"] for one in found["data"]] == [external_id]
