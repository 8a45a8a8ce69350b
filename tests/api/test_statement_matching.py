"""Matching and signing off over the API: the whole way once, and what is refused on it."""

from typing import Any

import pytest

from app.domain.matching_rules import MOST_RULES
from tests.api.schemas import Validator
from tests.api.statement_walk import BANK, FEES, LAST_ON, RULES, link, prepare, upload, walk
from tests.api.world import World, assert_problem


def used(world: World) -> Any:
    """Calls an operation, which must answer what the document tells of it."""

    def use(operation: str, method: str, path: str, body: Any = None) -> Any:
        answer = world.call(method, path, json=body)
        assert answer.status_code < 400, f"{operation}: {answer.text}"
        return answer.get_json()

    return use


def test_a_month_goes_from_the_file_to_a_second_version_of_its_signature(world: World) -> None:
    found = walk(world, used(world))
    path = f"/v1/statement-accounts/{found.ids['statement_account_id']}"
    assert found.first_run["by_rule"] == {"By reference": 1, "Less a charge": 1, "Same amount": 2}
    assert (found.first_run["matched"], found.first_run["suggested"], found.first_run["unmatched"]) == (2, 2, {})
    assert (found.trial["match_run_id"], found.trial["agreeing"]) == (None, 3)
    assert (found.settled["difference_minor"], len(found.settled["entries"])) == (0, 2)
    assert found.settled["journal_id"].startswith("jrn_")
    period = found.period
    assert (period["missing"], period["unexplained_minor"], period["opening"]) == ([], 0, "stated")
    assert period["bank_closing_minor"] == period["ledger_closing_minor"] == 10_002_390
    assert found.signed["summary"]["bank_closing_minor"] == 10_002_390
    assert (found.reopened["action"], found.reopened["former_id"]) == ("reopened", found.signed["sign_off_id"])
    assert (found.signed_again["version"], found.signed_again["former_id"]) == (2, found.signed["sign_off_id"])
    chain = world.get(f"{path}/sign-offs").get_json()["data"]
    assert [one["previous_hash"] for one in chain[1:]] == [one["hash"] for one in chain[:-1]]
    assert world.get(path).get_json()["signed_through"] == LAST_ON
    assert world.get(f"{path}/unmatched").get_json()["data"] == []
    again = world.post("/v1/statement-accounts", link())
    assert (again.status_code, again.get_json()["version"]) == (200, 1)
    late = world.post(f"/v1/matches/{found.ids['match_id']}/undo", {"reason": "a late change"})
    assert assert_problem(late, 409, "period_signed_off")["signed_through"] == LAST_ON
    assert_problem(world.post(f"{path}/sign-offs", {"last_on": LAST_ON}), 409, "sign_off_incomplete")


def test_what_cannot_be_done_is_refused_by_its_code(world: World) -> None:
    prepare(world)
    assert_problem(world.post("/v1/statement-imports", upload()), 404, "not_found")
    world.post("/v1/statement-sources", {"name": "walk", "format": "camt", "options": {}})
    unreadable = world.post("/v1/statement-imports", upload(content="bm8geG1s"))
    assert "Nothing was stored" in assert_problem(unreadable, 400, "malformed_request")["detail"]
    assert_problem(world.post("/v1/statement-accounts", link()), 404, "not_found")
    tried = world.post("/v1/statement-imports", upload(trial=True)).get_json()
    assert (tried["import_id"], tried["added_count"]) == (None, 4)
    stored = world.post("/v1/statement-imports", upload())
    assert (stored.status_code, stored.get_json()["proofs"]) == (201, ["proven"])
    known = world.post("/v1/statement-imports", upload())
    assert (known.status_code, known.get_json()["earlier_import_id"]) == (200, stored.get_json()["import_id"])
    assert_problem(world.post("/v1/statement-accounts", link(account_id="nobody")), 404, "account_not_found")
    world.account("bank:usd", "asset", "USD")
    assert_problem(world.post("/v1/statement-accounts", link(account_id="bank:usd")), 422, "currency_mismatch")
    for rules in ([{"name": ""}], [{"name": "x", "surprise": 1}], [{"name": "x", "cardinality": "1:N"}], RULES * 2):
        assert_problem(world.post("/v1/statement-accounts", link(rules=rules)), 400, "malformed_request")
    account = world.post("/v1/statement-accounts", link(rules=[])).get_json()
    path = f"/v1/statement-accounts/{account['statement_account_id']}"
    assert_problem(world.post(f"{path}/match-runs", {"rules": [{"name": ""}]}), 400, "malformed_request")
    assert world.post(f"{path}/match-runs").get_json()["matched"] == 1
    items = world.get(f"{path}/unmatched?through=2026-01-31").get_json()["data"]
    assert {one["reason"] for one in items} == {"amount_differs", "timing", "missing_there"}
    assert all(one["break_id"] is not None and one["state"] == "open" for one in items)
    line = next(one["line"]["statement_line_id"] for one in items if one["reason"] == "amount_differs")
    entry = next(one["entry"]["entry_number"] for one in items if not one["line"])
    differs = {"line_ids": [line], "entry_numbers": [entry], "reason": "r"}
    found = assert_problem(world.post(f"{path}/matches", differs), 422, "match_differs")
    assert found["lines_minor"] != found["entries_minor"]
    assert_problem(world.post(f"{path}/matches", {**differs, "line_ids": ["999999"]}), 409, "match_conflict")
    assert_problem(world.post(f"{path}/matches", {**differs, "line_ids": ["x"]}), 400, "malformed_request")
    with_journal = {**differs, "journal_account_id": "nobody"}
    assert_problem(world.post(f"{path}/matches", with_journal), 404, "account_not_found")
    same = [one for one in items if one["amount_minor"] == 700]
    fits = {
        "line_ids": [one["line"]["statement_line_id"] for one in same if one["line"]],
        "entry_numbers": [one["entry"]["entry_number"] for one in same if one["entry"]],
        "reason": "r",
        "journal_account_id": FEES,
    }
    refused = assert_problem(world.post(f"{path}/matches", fits), 422, "match_differs")
    assert "there is no journal to post" in refused["detail"]
    accepted = world.post(f"{path}/matches", {**differs, "accepts_difference": True})
    assert accepted.status_code == 201
    match = accepted.get_json()["match_id"]
    assert_problem(world.post(f"/v1/matches/{match}/confirm", {"reason": "r"}), 409, "match_conflict")
    assert_problem(world.post("/v1/statement-accounts", link(account_id=FEES)), 409, "match_conflict")
    incomplete = assert_problem(world.post(f"{path}/sign-offs", {"last_on": LAST_ON}), 409, "sign_off_incomplete")
    assert any("no owner" in sentence for sentence in incomplete["missing"])
    assert_problem(world.post(f"{path}/sign-offs", {"last_on": "2026-02-31"}), 400, "malformed_request")
    assert_problem(world.get(f"{path}/period"), 400, "malformed_request")
    assert_problem(world.post(f"{path}/sign-offs/1/reopen", {"reason": "r"}), 404, "not_found")
    assert BANK


FIELDS = {"reference": "external_id"}

ASKED_RULES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"name": ""}, False),
    ({"name": "  "}, False),
    ({"name": "By reference"}, False),
    ({"name": "n" * 101}, False),
    ({"name": 1}, False),
    ({"surprise": 1}, False),
    ({"fields": FIELDS}, True),
    ({"fields": {"details.a": "metadata.b", "words": "id"}}, True),
    ({"fields": {"surprise": "external_id"}}, False),
    ({"fields": {"reference": "surprise"}}, False),
    ({"fields": {"details.": "id"}}, False),
    ({"fields": {f"details.{n}": "id" for n in range(4)}}, False),
    ({"fields": None}, False),
    ({"days": 366}, True),
    ({"days": 367}, False),
    ({"days": -1}, False),
    ({"days": True}, False),
    ({"tolerance_minor": 1}, False),
    ({"tolerance_minor": 1, "fields": FIELDS}, True),
    ({"tolerance_minor": 2**53, "fields": FIELDS}, False),
    ({"fee_account_id": FEES}, False),
    ({"fee_account_id": FEES, "tolerance_minor": 1, "fields": FIELDS}, True),
    ({"fee_account_id": " x", "tolerance_minor": 1, "fields": FIELDS}, False),
    ({"fee_account_id": "x\n", "tolerance_minor": 1, "fields": FIELDS}, False),
    ({"cardinality": "1:N"}, False),
    ({"cardinality": "1:N", "fields": FIELDS}, True),
    ({"cardinality": "N:N", "fields": FIELDS}, False),
    ({"kinds": ["NMSC"], "suggests": True}, True),
    ({"kinds": [1]}, False),
    ({"suggests": "yes"}, False),
]
"""Members of a rule, and whether the document allows them."""


@pytest.mark.parametrize(("members", "is_valid"), ASKED_RULES)
def test_the_document_says_what_a_rule_may_be(shared_world: World, members: dict[str, Any], is_valid: bool) -> None:
    body = link(account_id="nobody", rules=[{"name": "x", **members}])
    assert is_allowed(shared_world, body) == is_valid
    # A rule that is in order is asked for an account that is not there.
    expected = (404, "account_not_found") if is_valid else (400, "malformed_request")
    assert_problem(shared_world.post("/v1/statement-accounts", body), *expected)


def is_allowed(world: World, body: dict[str, Any]) -> bool:
    """Whether the document allows a statement account."""
    schema = {"$ref": "#/components/schemas/NewStatementAccount", "components": world.document["components"]}
    return Validator(schema).is_valid(body)


def test_rules_that_were_answered_can_be_asked_again_and_what_is_more_is_refused(world: World) -> None:
    prepare(world)
    world.post("/v1/statement-sources", {"name": "walk", "format": "camt", "options": {}})
    world.post("/v1/statement-imports", upload())
    saved = world.post("/v1/statement-accounts", link()).get_json()
    assert saved["rules"][1] == {
        "name": "Same amount",
        "fields": {},
        "days": 3,
        "tolerance_minor": 0,
        "fee_account_id": "",
        "cardinality": "1:1",
        "kinds": [],
        "suggests": True,
    }
    again = link(rules=saved["rules"])
    assert is_allowed(world, again)
    assert world.post("/v1/statement-accounts", again).get_json()["version"] == saved["version"]
    many = link(rules=[{"name": f"rule {n}"} for n in range(MOST_RULES + 1)])
    assert not is_allowed(world, many)
    assert_problem(world.post("/v1/statement-accounts", many), 400, "malformed_request")


@pytest.mark.parametrize("number", ["9999", "x", "9" * 30])
def test_what_is_not_there_is_not_found(shared_world: World, number: str) -> None:
    account, match = f"/v1/statement-accounts/{number}", f"/v1/matches/{number}"
    for path in (account, f"{account}/matches", f"{account}/unmatched", f"{account}/sign-offs", match):
        assert_problem(shared_world.get(path), 404, "not_found")
    assert_problem(shared_world.get(f"{account}/period?last_on=2026-01-31"), 404, "not_found")
    assert_problem(shared_world.post(f"{account}/match-runs"), 404, "not_found")
    decisions = {"confirm": {}, "undo": {}, "split": {"line_ids": [], "entry_numbers": []}}
    for deed, body in {**decisions, "journal": {"journal_account_id": "x"}}.items():
        assert_problem(shared_world.post(f"{match}/{deed}", {**body, "reason": "r"}), 404, "not_found")
