"""Values come back as they went in, or are refused: text, numbers, times."""

import json
from urllib.parse import quote

import pytest

from tests.api.world import BANK, World, assert_problem, payment

LITERALS = ["\\u0000", "a\\u0000b", "\\\\u0000", "\\u00001", "C:\\u0000\\x", "\\"]


@pytest.mark.parametrize("text", LITERALS)
def test_text_that_only_looks_like_an_escaped_nul_comes_back(shared_world: World, text: str) -> None:
    world, account_id, metadata = shared_world, f"text {text}", {"path": text, text: [text]}
    world.account(BANK, "asset")
    world.account(account_id, metadata=metadata)
    assert world.get(f"/v1/accounts/{quote(account_id, safe='')}").get_json()["metadata"] == metadata
    body = payment(BANK, account_id, external_id=text, description=text, metadata=metadata)
    batch = world.post("/v1/payments/batch", {"payments": [body]}).get_json()
    assert [one["status"] for one in batch["data"]] == [201]
    accepted = batch["data"][0]["payment"]
    assert world.post("/v1/payments", body).status_code == 200
    for is_posted in (False, True):
        if is_posted:
            world.drained()
        found = world.get(f"/v1/payments/{accepted['payment_id']}").get_json()
        assert (found["status"] == "posted") == is_posted
        assert (found["external_id"], found["description"], found["metadata"]) == (text, text, metadata)


@pytest.mark.parametrize("backslashes", [0, 1, 2, 50_000])
def test_a_nul_is_refused_however_many_backslashes_come_before_it(shared_world: World, backslashes: int) -> None:
    world = shared_world
    raw = json.dumps(payment("a", "b", description="TEXT")).replace("TEXT", "\\\\" * backslashes + "\\u0000").encode()
    assert "NUL" in assert_problem(world.post("/v1/payments", raw), 400, "malformed_request")["detail"]
    [item] = world.post("/v1/payments/batch", b'{"payments": [' + raw + b"]}").get_json()["data"]
    assert item["problem"]["code"] == "malformed_request"


EXACT = ["0", "-7", "1.50", "1E5", "1e-7", "-0.0", "0.30000000000000004", "5e-324", "9007199254740991.0"]
BIG = ["9007199254740993", "18446744073709551616", "9" * 400]
INEXACT = [
    "0.1000000000000000055", "1e23", "9007199254740992.0", "12345678901234567.5", "1e400", "1e-400",
    "1e-99999999999999999999", "0e99999999999999999999", "0." + "1" * 5_000,
]  # fmt: skip


def with_number(number: str, body: dict[str, object]) -> bytes:
    return json.dumps({**body, "metadata": {"k": [{"n": 777}]}}).replace("777", number).encode()


@pytest.mark.parametrize("number", EXACT + BIG)
def test_a_number_in_metadata_comes_back_with_its_value(shared_world: World, number: str) -> None:
    world, value = shared_world, {"k": [{"n": json.loads(number)}]}
    world.account(BANK, "asset")
    name = f"holds {number}"[:100]
    account = with_number(number, {"account_id": name, "type": "liability", "currency_code": "EUR"})
    assert [world.post("/v1/accounts", account).status_code for _ in range(2)] == [201, 200]
    assert world.get(f"/v1/accounts/{name}").get_json()["metadata"] == value
    sent = with_number(number, payment(BANK, name))
    answers = [world.post("/v1/payments", sent) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    world.drained()
    found = world.get(f"/v1/payments/{answers[0].get_json()['payment_id']}").get_json()
    assert (found["status"], found["metadata"]) == ("posted", value)


@pytest.mark.parametrize("number", INEXACT)
def test_a_number_that_would_come_back_as_another_is_refused(shared_world: World, number: str) -> None:
    world = shared_world
    account = {"account_id": "numbers", "type": "liability", "currency_code": "EUR"}
    journal = {"external_id": "j", "entries": [{"account_id": "a", "direction": "debit", "amount_minor": 1}] * 2}
    for path, body in (
        ("/v1/accounts", account),
        ("/v1/payments", payment("alice", BANK)),
        ("/v1/journals", {**journal, "reason": "r"}),
    ):
        problem = assert_problem(world.post(path, with_number(number, dict(body))), 400, "malformed_request")
        assert "send it as a string" in problem["detail"]
        assert len(problem["detail"]) < 200
    world.account("patched")
    changed = world.call("PATCH", "/v1/accounts/patched", data=with_number(number, {}), content_type="application/json")
    assert_problem(changed, 400, "malformed_request")


def test_account_metadata_that_only_python_considers_equal_is_other_content(shared_world: World) -> None:
    body = {"account_id": "flags", "type": "liability", "currency_code": "EUR", "metadata": {"vip": True}}
    assert shared_world.post("/v1/accounts", body).status_code == 201
    changed = {**body, "metadata": {"vip": 1}}
    assert assert_problem(shared_world.post("/v1/accounts", changed), 409, "account_exists")["field"] == "metadata"


def test_a_time_is_cut_and_never_rounded_into_the_next_day(shared_world: World) -> None:
    world = shared_world
    world.account(BANK, "asset")
    world.account("midnight")
    for text in ("2026-01-31T23:59:59.9999999Z", "2026-02-01T00:59:59.9999999+01:00"):
        answer = world.deposit("midnight", 5, effective_at=text).get_json()
        assert answer["effective_at"] == "2026-01-31T23:59:59.999Z"
    world.drained()
    lines = [{"account_id": "midnight", "direction": "credit"}, {"account_id": BANK, "direction": "debit"}]
    entries = [{**line, "amount_minor": 7} for line in lines]
    journal = {"external_id": "j-midnight", "reason": "r", "entries": entries}
    posted = world.post("/v1/journals", {**journal, "effective_at": "2026-01-31T23:59:59.9999999Z"})
    assert posted.get_json()["effective_at"] == "2026-01-31T23:59:59.999Z"
    world.deposit("midnight", 100, effective_at="2026-02-01T00:00:00Z")
    world.drained()
    for name, path in (("at", "accounts/midnight/balance"), ("as_of", "reports/trial-balance")):
        found = world.get(f"/v1/{path}?{name}=2026-01-31T23:59:59.9999999Z").get_json()
        assert (17 in found.values()) or any(line["credit_minor"] == 17 for line in found["data"])
    assert world.get("/v1/accounts/midnight/balance?at=2026-02-01T00:00:00Z").get_json()["balance_minor"] == 117
