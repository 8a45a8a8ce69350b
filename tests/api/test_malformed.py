"""Malformed requests: each is refused with its reason, and no money moves."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from app.domain.money import MAX_MINOR
from tests.api.world import BANK, World, assert_problem, payment

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def nothing_moves(shared_world: World) -> object:
    """Two accounts; after the test none of them has been touched."""
    shared_world.account(BANK, "asset")
    shared_world.account("alice", overdraft_limit_minor=None)
    before = shared_world.balance("alice")
    yield
    assert shared_world.balance("alice") == before


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("1.0", "amount_not_integer"),
        ("1.5", "amount_not_integer"),
        ("1e2", "amount_not_integer"),
        ('"100"', "amount_not_integer"),
        ('"NaN"', "amount_not_integer"),
        ("true", "amount_not_integer"),
        ("null", "amount_not_integer"),
        ("[1]", "amount_not_integer"),
        ("{}", "amount_not_integer"),
        ("NaN", "malformed_request"),
        ("Infinity", "malformed_request"),
        ("-Infinity", "malformed_request"),
        ("0x10", "malformed_request"),
        ("01", "malformed_request"),
        ("+1", "malformed_request"),
        ("1_000", "malformed_request"),
        ("", "malformed_request"),
        ("0", "amount_not_positive"),
        ("-0", "amount_not_positive"),
        ("-1", "amount_not_positive"),
        (str(-MAX_MINOR), "amount_not_positive"),
        (str(MAX_MINOR + 1), "amount_out_of_range"),
        (str(2**63 - 1), "amount_out_of_range"),
        (str(2**63), "amount_out_of_range"),
        (str(2**64), "amount_out_of_range"),
        ("9" * 400, "amount_out_of_range"),
        ("9" * 5_000, "amount_out_of_range"),
        ("1.000000000000000001", "amount_not_integer"),
    ],
)
def test_an_amount_is_a_positive_whole_number_within_bounds(shared_world: World, amount: str, code: str) -> None:
    body = json.dumps(payment("alice", BANK, 777, external_id="x")).replace("777", amount).encode()
    assert_problem(shared_world.post("/v1/payments", body), 422 if code != "malformed_request" else 400, code)


def with_field(name: str, value: object) -> dict[str, object]:
    return {**payment("alice", BANK), name: value}


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("external_id", None),
        ("external_id", 7),
        ("external_id", ["x"]),
        ("external_id", "a\x00b"),
        ("source_account_id", 1),
        ("source_account_id", "alice\x00"),
        ("currency_code", "eur"),
        ("currency_code", "E"),
        ("currency_code", ""),
        ("currency_code", "EUR "),
        ("currency_code", "EUR\n"),
        ("currency_code", None),
        ("currency_code", "ЕUR"),
        ("description", "x" * 1_001),
        ("description", 5),
        ("description", "a\x00b"),
        ("effective_at", "yesterday"),
        ("effective_at", 1_700_000_000),
        ("effective_at", "2026-01-31"),
        ("effective_at", "2026-01-31T09:30:00"),
        ("effective_at", "2026-13-01T00:00:00Z"),
        ("effective_at", "2026-02-30T00:00:00Z"),
        ("effective_at", "0001-01-01T00:00:00+14:00"),
        ("effective_at", "9999-12-31T23:59:59-14:00"),
        ("effective_at", "10000-01-01T00:00:00Z"),
        ("expected_version", -1),
        ("expected_version", 1.5),
        ("expected_version", "1"),
        ("metadata", "text"),
        ("metadata", [1]),
        ("metadata", {"k": "x" * 17_000}),
        ("metadata", {"k": "a\x00b"}),
        ("metadata", {"a\x00b": 1}),
        ("metadata", {"k": nested(500)}),
        ("metadata", {"k": nested(7_000)}),
        ("metadata", {"k": NAN}),
        ("metadata", {"k": INFINITY}),
        ("amount", 1),
        ("Amount_minor", 1),
        ("payment_id", "pay_1_1_1"),
        ("__proto__", {}),
        ("", 1),
    ],
)
def test_a_field_that_is_wrong_or_unknown_is_refused(shared_world: World, name: str, value: object) -> None:
    raw = encoded(with_field(name, value))
    body = assert_problem(shared_world.post("/v1/payments", raw), 400, "malformed_request")
    assert len(body["detail"]) < 500


def encoded(value: object) -> bytes:
    """JSON without Python's limit of depth."""
    if isinstance(value, dict):
        return b"{" + b",".join(json.dumps(k).encode() + b":" + encoded(v) for k, v in value.items()) + b"}"
    depth = 0
    while isinstance(value, list) and len(value) == 1:
        value, depth = value[0], depth + 1
    return b"[" * depth + json.dumps(value).encode() + b"]" * depth


@pytest.mark.parametrize("name", list(payment("a", "b")))
def test_a_missing_field_is_named(shared_world: World, name: str) -> None:
    body = payment("alice", BANK)
    del body[name]
    assert name in assert_problem(shared_world.post("/v1/payments", body), 400, "malformed_request")["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"null",
        b"[]",
        b"[{}]",
        b'"text"',
        b"7",
        b"\x00",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"external_id": "\xff"}',
        b'{"external_id": "\\ud800"}',
        b'{"external_id": "\xed\xa0\x80"}',
        b'{"external_id": "a\nb"}',
        b'{"external_id": "a\x00b"}',
        b"{} {}",
        b"{},",
        b"<xml/>",
        b"external_id=1&amount_minor=2",
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"{'external_id': 1}",
    ],
)
def test_a_body_that_is_no_json_object_of_this_kind_is_refused(shared_world: World, raw: bytes) -> None:
    for path in ("/v1/payments", "/v1/accounts"):
        assert_problem(shared_world.post(path, raw), 400, "malformed_request")


@pytest.mark.parametrize("field", ["external_id", "description"])
@pytest.mark.parametrize("text", ["\\ud800", "\\udc00\\ud800", "x\\udfffy", "\\u0000", "a\x00b", "a\x01b"])
def test_text_that_no_ledger_can_store_is_refused(shared_world: World, field: str, text: str) -> None:
    raw = json.dumps(with_field(field, "TEXT")).replace("TEXT", text).encode()
    response = shared_world.post("/v1/payments", raw)
    assert response.status_code in (400, 422), response.text
    assert response.get_json()["code"] in ("malformed_request", "invalid_id")


@pytest.mark.parametrize("metadata", ['{"k": 1e400}', '{"k": -1e400}', '{"k": "\\ud800"}', '{"\\ud800": 1}'])
def test_metadata_that_no_ledger_can_store_is_refused(shared_world: World, metadata: str) -> None:
    raw = json.dumps(with_field("metadata", "META")).replace('"META"', metadata).encode()
    assert_problem(shared_world.post("/v1/payments", raw), 400, "malformed_request")


def test_a_body_beyond_a_mebibyte_is_too_large(shared_world: World) -> None:
    raw = json.dumps(with_field("description", "x" * 1_100_000)).encode()
    assert_problem(shared_world.post("/v1/payments", raw), 413, "payload_too_large")


@pytest.mark.parametrize("external_id", ["", " ", "x ", "\tx", "a\u2028b", "x" * 129])
def test_an_external_id_is_printable_and_of_bounded_length(shared_world: World, external_id: str) -> None:
    body = {**payment("alice", BANK), "external_id": external_id}
    assert assert_problem(shared_world.post("/v1/payments", body), 422, "invalid_id")["field"] == "external_id"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts?limit=0",
        "/v1/accounts?limit=-1",
        "/v1/accounts?limit=1001",
        "/v1/accounts?limit=ten",
        "/v1/accounts?limit=1.5",
        "/v1/accounts?limit=",
        "/v1/accounts?limit=" + "9" * 5_000,
        "/v1/accounts/alice/entries?after=x",
        "/v1/accounts/alice/entries?after=-1",
        "/v1/accounts/alice/entries?after=" + "9" * 19,
        "/v1/accounts/alice/entries?limit=0",
        "/v1/reports/trial-balance?limit=0",
        "/v1/reports/conflicts?limit=0",
    ],
)
def test_an_impossible_page_is_refused(shared_world: World, path: str) -> None:
    field = "limit" if "limit" in path else "after"
    code = "malformed_request" if field == "limit" else "invalid_cursor"
    assert assert_problem(shared_world.get(path), 400, code)["field"] == field


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts?entity=x",
        "/v1/accounts?LIMIT=1",
        "/v1/accounts/alice/balance?at=2020",
        "/v1/accounts/alice/entries?from=1",
        "/v1/payments",
        "/v1/payments?external=1",
        "/v1/payments?external_id=1&status=posted",
        "/v1/reports/trial-balance?currency=EUR",
        "/v1/reports/conflicts?after=1",
    ],
)
def test_a_misspelt_filter_does_not_widen_an_answer(shared_world: World, path: str) -> None:
    assert_problem(shared_world.get(path), 400, "malformed_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/a%00b",
        "/v1/accounts/a%00b/balance",
        "/v1/accounts/a%00b/entries",
        "/v1/accounts/%ff",
        "/v1/accounts?after=%00",
        "/v1/accounts?after=%ff",
        "/v1/accounts?entity_id=%00",
        "/v1/accounts?currency_code=%00",
        "/v1/payments/pay_1_1_1%00",
        "/v1/payments/%00",
        "/v1/payments?external_id=%00",
        "/v1/payments?external_id=%ed%a0%80",
        "/v1/payments?external_id=x&entity_id=%00",
        "/v1/payments?external_id=" + "x" * 5_000,
        "/v1/payments/pay_" + "9" * 3_000 + "_1_1",
        "/v1/payments/pay_99999_999999999999999_9999999999",
        "/v1/payments/pay_0_0_0",
        "/v1/payments/pay_٣_1_1",
        "/v1/reports/trial-balance?entity_id=%00",
        "/v1/reports/trial-balance?after=%00",
        "/v1/accounts/" + quote("x" * 10_000),
    ],
)
def test_no_path_or_parameter_causes_a_server_error(shared_world: World, path: str) -> None:
    assert shared_world.get(path).status_code in (200, 400, 404, 422)


@pytest.mark.parametrize("value", ["7", "x", '"x"', '"-1"', '"1", "2"', "*", '"' + "9" * 19 + '"', 'W/"1"'])
def test_an_if_match_that_is_no_etag_of_a_balance_is_refused(shared_world: World, value: str) -> None:
    response = shared_world.pay("alice", BANK, headers={"If-Match": value})
    assert assert_problem(response, 400, "malformed_request")["field"] == "If-Match"


def test_an_if_match_that_contradicts_the_body_is_refused(shared_world: World) -> None:
    response = shared_world.pay("alice", BANK, headers={"If-Match": '"3"'}, expected_version=4)
    assert assert_problem(response, 400, "malformed_request")["field"] == "expected_version"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/accounts", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", "/v1/payments", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_an_unsupported_method_is_told_which_are_allowed(
    shared_world: World, method: str, path: str, allowed: set[str]
) -> None:
    response = shared_world.call(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/accounts", "/v1/account", "/v1/reports", "/../etc/passwd", "/.git/config"]
)
def test_an_unknown_path_is_not_found(shared_world: World, path: str) -> None:
    assert_problem(shared_world.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        ("/v1/payments", {"capture": "later"}, "capture must be one of automatic, manual, not 'later'."),
        ("/v1/payments", {"currency_code": "eur"}, "currency_code must match ^[A-Z][A-Z0-9_]{2,15}$."),
        ("/v1/accounts", {"type": "wallet"}, "type must be one of asset, liability, equity, revenue, expense"),
    ],
)
def test_a_refused_value_is_answered_with_those_that_are_allowed(
    shared_world: World, path: str, change: dict[str, Any], told: str
) -> None:
    bodies = {
        "/v1/payments": payment("alice", BANK, 1),
        "/v1/accounts": {"account_id": "x", "type": "asset", "currency_code": "EUR"},
    }
    problem = assert_problem(shared_world.post(path, {**bodies[path], **change}), 400, "malformed_request")
    assert problem["detail"].startswith(told)
    assert [problem["field"]] == list(change)


def test_a_journal_at_the_end_of_the_calendar_is_refused(shared_world: World) -> None:
    entries = [
        {"account_id": one, "direction": side, "amount_minor": 1} for one, side in ((BANK, "debit"), ("x", "credit"))
    ]
    journal = {"external_id": "end", "reason": "r", "entries": entries, "effective_at": "9999-12-31T23:59:59.999Z"}
    assert (
        assert_problem(shared_world.post("/v1/journals", journal), 400, "malformed_request")["field"] == "effective_at"
    )
