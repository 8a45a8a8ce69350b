"""Values come back as they went in, or are refused: text, numbers, times."""

import json

import pytest

from tests.api.world import BANK, World, assert_problem, payment

LITERALS = ["\\u0000", "a\\u0000b", "\\\\u0000", "\\u00001", "C:\\u0000\\x", "\\"]


@pytest.mark.parametrize("text", LITERALS)
def test_text_that_only_looks_like_an_escaped_nul_comes_back(world: World, text: str) -> None:
    world.funded("alice")
    metadata = {"path": text, text: [text]}
    created = world.post(
        "/v1/accounts", {"account_id": "bob", "type": "liability", "currency_code": "EUR", "metadata": metadata}
    )
    assert created.status_code == 201, created.text
    assert world.get("/v1/accounts/bob").get_json()["metadata"] == metadata
    body = payment("alice", "bob", external_id=text, description=text, metadata=metadata)
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
def test_a_nul_is_refused_however_many_backslashes_come_before_it(world: World, backslashes: int) -> None:
    world.account(BANK, "asset")
    raw = json.dumps(payment("a", "b", description="TEXT")).replace("TEXT", "\\\\" * backslashes + "\\u0000").encode()
    assert "NUL" in assert_problem(world.post("/v1/payments", raw), 400, "malformed_request")["detail"]
    [item] = world.post("/v1/payments/batch", b'{"payments": [' + raw + b"]}").get_json()["data"]
    assert item["problem"]["code"] == "malformed_request"
