"""Breaks, runs and repairs over the API: found, worked on, shown, asked for and done by the maintenance worker."""

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.cache import keys
from app.services.access.api_keys import Scope
from app.services.proofs.requested_proofs import RequestedProofs
from app.wiring.cache import build_cache
from app.wiring.proofs import build_requested_proofs
from app.wiring.workers import build_reconciler
from tests import hot_state
from tests.api.world import World, assert_problem

REASON = {"reason_code": "cache_written_by_hand", "comment": "Written by hand in a drill."}


def worker(world: World) -> RequestedProofs:
    """What the maintenance worker has."""
    return build_requested_proofs(world.settings, build_reconciler(world.settings))


def drift(world: World, account_id: str = "alice", **differences: int) -> None:
    """The cache is written past the program."""
    world.balance(account_id)  # what is not in the cache cannot be wrong there
    partition = build_cache(world.settings).partition_of(account_id)
    hot_state.add(world.cache, keys.account(partition, account_id), **(differences or {"balance": 1_250}))


def found(world: World) -> dict[str, Any]:
    """Alice has 12.50 more in the cache, and a run that was asked for has found it; the one open break."""
    world.funded("alice", 40_000)
    drift(world)
    asked = world.post("/v1/reconciliation-runs", {"mode": "full"})
    assert asked.status_code == 202
    assert worker(world).run_once() == 1
    [one] = world.get("/v1/breaks?state=open").get_json()["data"]
    return dict(one)


def change(world: World, break_id: str, body: dict[str, Any], **more: Any) -> TestResponse:
    path = f"/v1/breaks/{break_id}"
    return world.call("PATCH", path, data=json.dumps(body), content_type="application/json", **more)


def test_a_run_that_was_asked_for_is_done_and_told(world: World) -> None:
    world.funded("alice")
    asked = world.post("/v1/reconciliation-runs", {"mode": "full"}).get_json()
    assert (asked["state"], asked["asked_by"].partition(":")[0]) == ("waiting", "key")
    assert world.post("/v1/reconciliation-runs", {"mode": "full"}).get_json() == asked
    assert worker(world).run_once() == 1
    done = world.get(f"/v1/reconciliation-requests/{asked['request_id']}").get_json()
    assert (done["state"], done["detail"]) == ("done", "No breaks found.")
    run = world.get(f"/v1/reconciliation-runs/{done['run_id']}").get_json()
    assert (run["mode"], run["state"], run["break_count"]) == ("full", "finished", 0)
    assert run["asked_by"] == asked["asked_by"]
    assert run["checked"]["transactions"] == run["expected"]["transactions"] == 1
    assert world.get("/v1/reconciliation-runs").get_json()["data"] == [run]
    assert worker(world).run_once() == 0
    [audited] = world.get("/v1/audit?action=reconciliation.request").get_json()["data"]
    assert audited["route"] == "/v1/reconciliation-runs"


def test_a_break_tells_both_sides_and_takes_what_people_say_of_it(world: World) -> None:
    one = found(world)
    assert (one["kind"], one["account_id"], one["source"]) == ("cache_balance", "alice", "inside")
    assert (one["ledger_minor"], one["other_minor"], one["difference_minor"]) == (40_000, 41_250, 1_250)
    assert (one["currency_code"], one["repairable"], one["overdue"]) == ("EUR", True, False)
    assert one["evidence"] == [{"kind": "account", "id": "alice"}]
    investigated = change(world, one["break_id"], {"state": "investigating", "comment": "Nobody posted."})
    assert (investigated.status_code, investigated.get_json()["state"]) == (200, "investigating")
    settled = change(world, one["break_id"], {"state": "accepted", **REASON}).get_json()
    assert (settled["state"], settled["repairable"]) == ("accepted", False)
    history = world.get(f"/v1/breaks/{one['break_id']}").get_json()["history"]
    assert [(event["action"], event["state"], event["comment"]) for event in history] == [
        ("opened", "open", f"found by run {one['first_run_id']}"),
        ("changed", "investigating", "Nobody posted."),
        ("changed", "accepted", REASON["comment"]),
    ]
    audited = world.get("/v1/audit?action=break.change&account_id=alice").get_json()["data"]
    assert [record["method"] for record in audited] == [None, "PATCH", "PATCH"]


def test_what_cannot_be_changed_is_refused(world: World) -> None:
    break_id = found(world)["break_id"]
    assert_problem(change(world, break_id, {}), 400, "malformed_request")
    assert_problem(change(world, break_id, {"state": "gone"}), 400, "malformed_request")
    assert_problem(change(world, break_id, {"state": "resolved"}), 422, "break_incomplete")
    assert_problem(change(world, break_id, {"owner": "nobody"}), 422, "break_incomplete")
    assert_problem(change(world, "99", {"comment": "x"}), 404, "not_found")
    assert change(world, break_id, {"state": "resolved", **REASON}).status_code == 200
    assert_problem(change(world, break_id, {"state": "open"}), 409, "break_settled")
    assert_problem(world.get(f"/v1/breaks/{break_id}/repair"), 409, "break_not_repairable")


def test_a_repair_is_shown_asked_for_and_done(world: World) -> None:
    one = found(world)
    path = f"/v1/breaks/{one['break_id']}/repair"
    world.pay("alice", "clearing:bank", 700)
    preview = world.get(path).get_json()
    assert (preview["now"]["balance_minor"], preview["then"]["balance_minor"]) == (41_250, 40_000)
    assert (preview["now"]["held_minor"], preview["then"]["held_minor"]) == (700, 700)
    assert (preview["then"]["available_minor"], preview["in_doubt"], preview["freed"]) == (39_300, False, {})
    assert world.balance("alice")["balance_minor"] == 41_250, "a preview changes nothing"

    asked = world.post(path, {"reason": "A drill.", "token": preview["token"]})
    assert asked.status_code == 202, asked.text
    assert worker(world).run_once() == 1
    done = world.get(f"/v1/reconciliation-requests/{asked.get_json()['request_id']}").get_json()
    assert (done["state"], done["account_id"], done["reason"]) == ("done", "alice", "A drill.")
    assert world.balance("alice")["balance_minor"] == 40_000
    assert world.balance("alice")["held_minor"] == 700, "what is on its way stays held"
    after = world.get(f"/v1/breaks/{one['break_id']}").get_json()
    assert (after["state"], after["reason_code"]) == ("resolved", "repaired")
    assert [event["action"] for event in after["history"]] == ["opened", "repair_asked", "repaired", "changed"]
    assert [repair["state"] for repair in after["repairs"]] == ["done"]
    [audited] = world.get("/v1/audit?action=cache.repair").get_json()["data"]
    assert audited["account_id"] == "alice"
    world.assert_proven()


def test_a_repair_that_would_change_something_else_by_now_is_refused(world: World) -> None:
    one = found(world)
    path = f"/v1/breaks/{one['break_id']}/repair"
    token = world.get(path).get_json()["token"]
    drift(world, balance=1)
    assert_problem(world.post(path, {"reason": "A drill.", "token": token}), 412, "precondition_failed")
    assert world.sql("SELECT count(*) FROM reconciliation_request WHERE mode = 'repair'") == [(0,)]


def test_nothing_is_repaired_while_the_ledger_itself_is_in_doubt(world: World) -> None:
    one = found(world)
    path = f"/v1/breaks/{one['break_id']}/repair"
    token = world.get(path).get_json()["token"]
    asked = world.post(path, {"reason": "A drill.", "token": token}).get_json()
    world.sql(
        "SET session_replication_role = replica;"
        " UPDATE account_balance SET balance_minor = balance_minor + 5 WHERE account_id = 'clearing:bank'"
    )
    worker(world).run_once()
    refused = world.get(f"/v1/reconciliation-requests/{asked['request_id']}").get_json()
    assert (refused["state"], "in doubt" in refused["detail"]) == ("refused", True)
    assert world.balance("alice")["balance_minor"] == 41_250
    preview = world.get(path).get_json()
    assert preview["in_doubt"]
    again = world.post(path, {"reason": "A drill.", "token": preview["token"]})
    assert_problem(again, 409, "break_not_repairable")


def test_holds_that_nothing_explains_are_shown_before_they_go(world: World) -> None:
    world.funded("alice", 40_000)
    drift(world, held=30)
    partition = build_cache(world.settings).partition_of("alice")
    world.cache.hset(keys.account(partition, "alice"), "5-5", 30)
    build_reconciler(world.settings).run(full=True)
    [one] = world.get("/v1/breaks").get_json()["data"]
    preview = world.get(f"/v1/breaks/{one['break_id']}/repair").get_json()
    assert list(preview["freed"].values()) == [30]
    assert (preview["now"]["held_minor"], preview["then"]["held_minor"]) == (30, 0)


def test_the_ageing_report_and_the_metrics_tell_of_breaks(world: World) -> None:
    one = found(world)
    [line] = world.get("/v1/reports/break-ageing").get_json()["data"]
    assert (line["account_id"], line["breaks"], line["under_1_day"], line["sum_minor"]) == ("alice", 1, 1, 1_250)
    figures = world.get("/metrics").text
    assert 'holdfast_breaks{kind="cache_balance",source="inside",state="open"} 1.0' in figures
    assert 'holdfast_breaks_found_total{kind="cache_balance",source="inside"} 1.0' in figures
    assert 'holdfast_overdue_breaks{source="inside"} 0.0' in figures
    assert 'holdfast_reconciled_seconds{mode="full"}' in figures
    assert world.get("/v1/breaks?overdue=true").get_json()["data"] == []
    assert world.get(f"/v1/breaks?after={one['break_id']}").get_json()["data"] == []


@pytest.mark.parametrize(
    "path", ["/v1/breaks/x", "/v1/breaks/7/repair", "/v1/reconciliation-runs/7", "/v1/reconciliation-requests/x"]
)
def test_what_is_not_there_is_not_found(shared_world: World, path: str) -> None:
    assert_problem(shared_world.get(path), 404, "not_found")


@pytest.mark.parametrize("query", ["state=gone", "source=x", "overdue=perhaps"])
def test_a_filter_that_means_nothing_is_refused(shared_world: World, query: str) -> None:
    assert_problem(shared_world.get(f"/v1/breaks?{query}"), 400, "malformed_request")


def test_a_key_that_reads_reports_works_on_nothing(shared_world: World) -> None:
    key = shared_world.key_with(Scope.REPORTS_READ)
    assert shared_world.get("/v1/breaks", key=key).status_code == 200
    assert_problem(change(shared_world, "1", {"comment": "x"}, key=key), 403, "forbidden")
    writer = shared_world.key_with(Scope.ACCOUNTS_WRITE)
    asked = shared_world.post("/v1/reconciliation-runs", {"mode": "full"}, key=writer)
    assert_problem(asked, 403, "forbidden")
