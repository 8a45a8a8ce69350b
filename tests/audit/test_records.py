"""One record a call: a change's in its own transaction, a payment's with its posting, all others gathered."""

import json
from typing import Any

import pytest

from app.domain.accounts import AccountType
from app.domain.origin import Origin, acting_for
from app.services.access.api_keys import Scope
from app.services.accounts.accounts import AccountRequest
from tests.api.world import BANK, payment
from tests.audit.world import AuditWorld


def key_id_of(key: str) -> str:
    return key.split("_")[1]


def test_a_payment_is_recorded_once_with_its_posting(world: AuditWorld) -> None:
    world.funded("alice")
    body = payment("alice", BANK, 100, external_id="order-1")
    accepted = world.post("/v1/payments", body, headers=world.named("pay-1"))
    assert world.records("request_id = 'pay-1'") == [], "not before it is posted"
    world.drained()
    record = world.record("pay-1")
    assert record["action"] == "payment"
    assert (record["method"], record["route"], record["status"]) == ("POST", "/v1/payments", 201)
    assert (record["key_id"], record["actor"]) == (key_id_of(world.key), None)
    assert (record["ip"], record["entity_id"]) == (record["ip"], "default")
    assert str(record["ip"]) == "127.0.0.1"
    assert record["payment_id"] == accepted.get_json()["payment_id"]
    assert (record["request"], record["response"], record["external_id"]) == (None, None, None), "the ledger has these"
    assert 0 <= record["duration_us"] < 60_000_000


def test_a_replay_changes_nothing_and_is_a_call_of_its_own(world: AuditWorld) -> None:
    world.funded("alice")
    body = payment("alice", BANK, 100, external_id="order-1")
    world.post("/v1/payments", body, headers=world.named("first"))
    world.post("/v1/payments", body, headers=world.named("again"))
    world.drained()
    assert world.record("first")["action"] == "payment"
    again = world.record("again")
    assert (again["action"], again["status"]) == (None, 200)
    assert json.loads(again["request"]) == body
    assert json.loads(again["response"])["external_id"] == "order-1"


def test_every_payment_of_a_batch_is_recorded_and_so_is_the_call(world: AuditWorld) -> None:
    world.funded("alice")
    for atomic in (False, True):
        payments = [payment("alice", BANK, 1, external_id=f"{atomic}-{n}") for n in range(3)]
        world.post("/v1/payments/batch", {"payments": payments, "atomic": atomic}, headers=world.named(f"b-{atomic}"))
        world.drained()
        records = world.records("request_id = %s", f"b-{atomic}")
        assert sorted(one["action"] or "" for one in records) == ["", "payment", "payment", "payment"]
        assert {one["route"] for one in records} == {"/v1/payments/batch"}


def test_an_authorization_and_its_end_are_a_record_each(world: AuditWorld) -> None:
    world.funded("alice")
    ids = []
    for name in ("captured", "voided"):
        body = payment("alice", BANK, 100, capture="manual")
        held = world.post("/v1/payments", body, headers=world.named(f"hold {name}".replace(" ", "-")))
        ids.append(held.get_json()["payment_id"])
    world.drained()
    world.post(f"/v1/payments/{ids[0]}/capture", {}, headers=world.named("capture"))
    world.post(f"/v1/payments/{ids[1]}/void", headers=world.named("void"))
    world.drained()
    found = {one["request_id"]: (one["action"], one["payment_id"]) for one in world.records("action <> 'payment'")}
    assert {name: found[name] for name in ("hold-captured", "hold-voided", "capture", "void")} == {
        "hold-captured": ("authorization", ids[0]),
        "hold-voided": ("authorization", ids[1]),
        "capture": ("capture", ids[0]),
        "void": ("void", ids[1]),
    }


CHANGES: dict[str, Any] = {
    # action: how it is asked for, and what its record names
    "account.create": ("POST", "/v1/accounts", {"account_id": "bob", "type": "liability", "currency_code": "EUR"}),
    "account.change": ("PATCH", "/v1/accounts/alice", {"name": "Alice", "reason": "a test"}),
    "asset.register": ("POST", "/v1/assets", {"currency_code": "POINTS", "minor_units": 0, "name": "Points"}),
    "journal": (
        "POST",
        "/v1/journals",
        {
            "external_id": "journal-1",
            "reason": "a test",
            "entries": [
                {"account_id": "alice", "direction": "debit", "amount_minor": 5},
                {"account_id": BANK, "direction": "credit", "amount_minor": 5},
            ],
        },
    ),
}


@pytest.mark.parametrize("action", CHANGES)
def test_a_change_is_recorded_with_its_request_and_a_repeat_is_a_plain_call(world: AuditWorld, action: str) -> None:
    world.funded("alice")
    method, path, body = CHANGES[action]
    for request_id in ("change", "repeat"):
        response = world.call(method, path, json=body, headers=world.named(request_id))
        assert response.status_code in (200, 201), response.text
    changed, repeated = world.record("change"), world.record("repeat")
    assert (changed["action"], repeated["action"]) == (action, None)
    assert json.loads(changed["request"]) == body
    assert changed["status"] in (200, 201)
    assert changed["key_id"] == repeated["key_id"] == key_id_of(world.key)
    assert changed["method"] == method
    assert changed["path"] == path


def test_a_refund_and_a_reversal_name_what_they_made(world: AuditWorld) -> None:
    world.funded("alice")
    paid = world.pay("alice", BANK, 100).get_json()["payment_id"]
    world.drained()
    refund = world.post(f"/v1/payments/{paid}/refunds", {"external_id": "r"}, headers=world.named("refund"))
    journal = world.post("/v1/journals", CHANGES["journal"][2], headers=world.named("journal")).get_json()
    reversal = world.post(
        f"/v1/journals/{journal['journal_id']}/reversal",
        {"external_id": "undone", "reason": "a test"},
        headers=world.named("reversal"),
    )
    made = {one["request_id"]: (one["action"], one["payment_id"]) for one in world.records("request_id IS NOT NULL")}
    assert made["refund"] == ("refund", refund.get_json()["refund_id"])
    assert made["journal"] == ("journal", journal["journal_id"])
    assert made["reversal"] == ("reversal", reversal.get_json()["journal_id"])


def test_without_its_record_nothing_is_changed(world: AuditWorld) -> None:
    """The record is in the change's own transaction: what the audit refuses does not happen."""
    world.funded("alice")
    world.sql("ALTER TABLE audit_call ADD CONSTRAINT full_up CHECK (action IS NULL) NOT VALID")
    for method, path, body in CHANGES.values():
        assert world.call(method, path, json=body).status_code in (422, 500)
    assert world.sql("SELECT count(*) FROM account WHERE account_id = 'bob' OR name = 'Alice'") == [(0,)]
    assert world.sql("SELECT count(*) FROM asset") == [(0,)]
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    world.sql("ALTER TABLE audit_call DROP CONSTRAINT full_up")
    world.assert_proven()


def test_reads_and_refusals_are_recorded(world: AuditWorld) -> None:
    world.account("alice")
    reader = world.key_with(Scope.READ)
    calls: dict[str, tuple[int, str | None]] = {"read": (200, None), "no-key": (401, "unauthenticated")}
    calls |= {"no-scope": (403, "forbidden"), "nowhere": (404, "not_found"), "poor": (422, "insufficient_funds")}
    calls |= {
        "bad": (400, "malformed_request"),
        "large": (413, "payload_too_large"),
        "method": (405, "method_not_allowed"),
    }
    world.get("/v1/accounts/alice?x=1", headers=world.named("bad"))
    world.get("/v1/accounts/alice", headers=world.named("read"))
    world.get("/v1/accounts/alice", key="hf_x_y", headers=world.named("no-key"))
    world.post("/v1/payments", payment("alice", "bob"), key=reader, headers=world.named("no-scope"))
    world.application.test_client().get("/nowhere", headers=world.named("nowhere"))
    world.application.test_client().delete("/healthz", headers=world.named("method"))
    world.account(BANK, "asset")
    world.post("/v1/payments", payment("alice", BANK), headers=world.named("poor"))
    world.post("/v1/payments", b"x" * 2_000_000, headers=world.named("large"))
    found = {one["request_id"]: (one["status"], one["code"]) for one in world.records("request_id IS NOT NULL")}
    assert {name: found[name] for name in calls} == calls
    assert world.record("no-scope")["key_id"] == key_id_of(reader)
    assert world.record("no-key")["key_id"] is None
    assert world.record("bad")["path"] == "/v1/accounts/alice?x=1"
    assert "insufficient" in world.record("poor")["response"]
    assert json.loads(world.record("read")["response"])["account_id"] == "alice"


def test_a_rejection_is_recorded_with_its_code_and_its_account(world: AuditWorld) -> None:
    world.funded("alice")
    paid = world.post("/v1/payments", payment("alice", BANK, 100, external_id="x"), headers=world.named("rejected"))
    world.sql("UPDATE account SET status = 'frozen' WHERE account_id = 'alice'")
    world.sql("ALTER TABLE entry ADD CONSTRAINT no_hundred CHECK (amount_minor <> 100) NOT VALID")
    world.drained()
    record = world.record("rejected")
    assert (record["action"], record["payment_id"]) == ("payment.rejection", paid.get_json()["payment_id"])
    assert (record["code"], record["account_id"], record["external_id"]) == ("rejected_by_ledger", "alice", "x")


def test_keys_are_recorded_without_their_secret(world: AuditWorld) -> None:
    command = Origin("cli-1", 1_763_656_270_123, 1, path="keys create checkout")
    with acting_for(command):
        key = world.key_with(Scope.READ)
        assert world.ledger_api_keys.revoke(key_id_of(key), "command line")
    created, revoked = world.records("request_id = 'cli-1'")
    assert [created["action"], revoked["action"]] == ["key.create", "key.revoke"]
    assert created["actor"] == "tests"
    assert (created["path"], created["method"], created["ip"]) == ("keys create checkout", None, None)
    assert json.loads(created["response"]) == {"key_id": key_id_of(key), "name": "a test", "scopes": ["read"]}
    assert key.split("_", 2)[2] not in json.dumps([created, revoked], default=str)


def test_what_the_clock_does_comes_from_no_call(world: AuditWorld) -> None:
    request = AccountRequest("carol", "default", AccountType.LIABILITY, "EUR", None, 0, None)
    world.services.accounts.create(request, "clock")
    [record] = world.records("account_id = 'carol'")
    assert (record["actor"], record["request_id"], record["path"]) == ("clock", None, None)
