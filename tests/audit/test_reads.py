"""Asking the audit: filters, pages, one record with request and answer, and the export."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.services.access.api_keys import Scope
from tests.api.conftest import fresh_world
from tests.api.world import BANK, assert_problem, payment
from tests.audit.world import AuditWorld
from tests.databases import Databases

PAYMENT_ROUTE = "/v1/payments"


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[AuditWorld]:
    """A ledger with a few calls of several kinds, for tests that only read."""
    with fresh_world(databases, AuditWorld) as world:
        world.funded("alice")
        world.account("=cmd()")
        world.post("/v1/payments", payment("alice", BANK, 7, external_id="order-1"), headers=world.named("paid"))
        world.post("/v1/payments", payment("=cmd()", BANK, 9, external_id="order-2"), headers=world.named("poor"))
        body = payment("alice", BANK, 5, external_id="held-1", capture="manual")
        world.post("/v1/payments", body, headers=world.named("held"))
        world.drained()
        world.get("/v1/accounts/alice", headers=world.named("read"))
        world.get("/v1/accounts/nobody", headers=world.named("unknown"))
        world.application.test_client().get("/v1/accounts", headers=world.named("no-key"))
        world.services.recorder.flush()
        yield world


def listed(world: AuditWorld, query: str = "") -> list[dict[str, Any]]:
    response = world.get(f"/v1/audit{query}")
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.get_json()["data"]
    return data


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [one["request_id"] for one in records if one["request_id"] in NAMED]


NAMED = ("paid", "poor", "held", "read", "unknown", "no-key")


def test_records_come_in_the_order_of_the_calls(world: AuditWorld) -> None:
    records = listed(world, "?limit=1000")
    assert ids(records) == list(NAMED)
    assert sorted(one["called_at"] for one in records) == [one["called_at"] for one in records]


FILTERS: dict[str, list[str]] = {
    "request_id=paid": ["paid"],
    "route=/v1/payments": ["paid", "poor", "held"],
    "method=GET": ["read", "unknown", "no-key"],
    "status=401": ["no-key"],
    "code=insufficient_funds": ["poor"],
    "action=authorization": ["held"],
    "action=payment": ["paid"],
    "external_id=order-1": ["paid"],
    "external_id=held-1": ["held"],
    "external_id=order-1&entity_id=other": [],
    "account_id==cmd()": ["poor"],
    "account_id=alice": ["paid", "held", "read"],
    "external_id=order-2": ["poor"],
    "account_id=nobody": ["unknown"],
    "account_id=": [],
    "ip=127.0.0.1": list(NAMED),
    "ip=127.0.0.0/8": list(NAMED),
    "ip=10.0.0.0/8": [],
    "ip=::1": [],
    "from=2020-01-01T00:00:00Z": list(NAMED),
    "to=2020-01-01T00:00:00Z": [],
    "method=GET&status=404": ["unknown"],
    "entity_id=default&action=payment": ["paid"],
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_keeps_what_was_asked_for(world: AuditWorld, query: str) -> None:
    assert ids(listed(world, f"?limit=1000&{query}")) == FILTERS[query]


def test_key_and_actor_and_payment_filter_too(world: AuditWorld) -> None:
    key_id = world.key.split("_")[1]
    mine = [name for name in NAMED if name != "no-key"]
    assert ids(listed(world, f"?limit=1000&key_id={key_id}")) == mine
    assert ids(listed(world, f"?limit=1000&actor=key:{key_id}")) == mine
    assert [one["action"] for one in listed(world, "?actor=tests")] == ["key.create"]
    [paid] = listed(world, "?request_id=paid")
    assert ids(listed(world, f"?payment_id={paid['payment_id']}")) == ["paid"]


def test_a_record_of_a_payment_is_completed_from_the_ledger(world: AuditWorld) -> None:
    [paid], [held] = listed(world, "?request_id=paid"), listed(world, "?request_id=held")
    assert (paid["external_id"], paid["path"], paid["status"]) == ("order-1", "/v1/payments", 201)
    assert (held["external_id"], held["account_id"]) == ("held-1", "alice")
    assert paid["actor"] == f"key:{world.key.split('_')[1]}"
    detail = world.get(f"/v1/audit/{paid['audit_id']}").get_json()
    assert json.loads(detail["response"])["status"] == "posted"
    assert json.loads(detail["response"])["amount_minor"] == 7


def test_one_record_has_request_and_answer(world: AuditWorld) -> None:
    [poor] = listed(world, "?request_id=poor")
    detail = world.get(f"/v1/audit/{poor['audit_id']}").get_json()
    assert {name: detail[name] for name in poor} == poor
    assert json.loads(detail["request"])["external_id"] == "order-2"
    assert json.loads(detail["response"])["code"] == "insufficient_funds"
    assert detail["response_bytes"] == len(detail["response"].encode())


@pytest.mark.parametrize("audit_id", ["aud_1_1", "aud_999999999999999_1", "nonsense", "aud_1"])
def test_a_record_that_is_none_is_not_found(world: AuditWorld, audit_id: str) -> None:
    assert_problem(world.get(f"/v1/audit/{audit_id}"), 404, "not_found")


def test_pages_are_the_whole(world: AuditWorld) -> None:
    everything = [one["audit_id"] for one in listed(world, "?limit=1000&to=2100-01-01T00:00:00Z")]
    walked: list[str] = []
    cursor = ""
    while True:
        page = world.get(f"/v1/audit?limit=3{cursor}").get_json()
        walked += [one["audit_id"] for one in page["data"]]
        if page["next"] is None or len(walked) >= len(everything):
            break
        cursor = f"&after={page['next']}"
    assert walked[: len(everything)] == everything


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=1", "invalid_cursor"),
        ("status=ok", "malformed_request"),
        ("ip=somewhere", "malformed_request"),
        ("from=yesterday", "malformed_request"),
        ("wanted=all", "malformed_request"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(world: AuditWorld, query: str, code: str) -> None:
    problem = assert_problem(world.get(f"/v1/audit?{query}"), 400, code)
    assert problem["field"] == query.partition("=")[0]


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit.csv", "/v1/audit/aud_1_1"])
def test_only_a_key_for_it_may_read_the_audit(world: AuditWorld, path: str) -> None:
    others = world.key_with(Scope.READ, Scope.PAYMENTS_WRITE, Scope.ACCOUNTS_WRITE)
    assert_problem(world.get(path, key=others), 403, "forbidden")


def test_what_the_audit_answers_is_not_kept_in_it(world: AuditWorld) -> None:
    world.get("/v1/audit?limit=1", headers=world.named("asked"))
    assert world.record("asked")["response"] is None


def exported(world: AuditWorld, query: str = "") -> list[dict[str, str]]:
    response = world.application.test_client().get(
        f"/v1/audit.csv{query}", headers={"Authorization": f"Bearer {world.key}"}
    )
    assert response.status_code == 200
    assert response.content_type == "text/csv; charset=utf-8"
    assert b"\r\n" in response.data
    return list(csv.DictReader(io.StringIO(response.data.decode(), newline="")))


def test_the_export_has_what_the_list_has(world: AuditWorld) -> None:
    wanted = listed(world, "?limit=1000&method=POST")
    found = exported(world, "?method=POST")
    assert [one["audit_id"] for one in found] == [one["audit_id"] for one in wanted]
    for row, record in zip(found, wanted, strict=True):
        for name, value in record.items():
            shown = "" if value is None else f"'{value}" if str(value).startswith("=") else str(value)
            assert row[name] == shown, name


def test_an_export_is_longer_than_one_read(world: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.audit.EXPORTED_AT_ONCE", 2)
    assert len(exported(world, "?method=POST")) == len(listed(world, "?limit=1000&method=POST"))


def test_a_formula_in_an_export_is_only_text(world: AuditWorld) -> None:
    [created] = [one for one in exported(world, "?action=account.create") if "cmd" in one["account_id"]]
    assert created["account_id"] == "'=cmd()"
    assert int(created["status"]) == 201


def test_a_method_is_found_in_any_case(world: AuditWorld) -> None:
    assert ids(listed(world, "?method=get&limit=1000")) == ids(listed(world, "?method=GET&limit=1000")) != []


def test_a_posted_payment_names_the_account_that_it_debits(world: AuditWorld) -> None:
    [found] = listed(world, "?request_id=paid")
    assert (found["account_id"], found["external_id"]) == ("alice", "order-1")
