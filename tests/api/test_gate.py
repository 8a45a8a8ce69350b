"""The gate: a request brings what its route declares, and nothing else."""

import gc
import io
import json
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from app.api.application import all_routes
from app.api.json_body import DEEPEST
from app.api.routes import LARGEST_BODY, Route
from tests.api.world import BANK, World, assert_problem, payment

PAYMENTS = 30
WRITES = [route for route in all_routes() if route.method != "GET"]
WITH_BODY = [route for route in all_routes() if route.body is not None]


def path_of(route: Route) -> str:
    """A path that leads to a route, to things that do not exist."""
    path = route.path
    for name in route.variables:
        path = path.replace(f"{{{name}}}", "nothing")
    return path


def named(route: Route) -> str:
    return route.name


# Routes


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/v1/payments/batch", 405, "OPTIONS, POST"),
        ("PATCH", "/v1/payments", 405, "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/v1/accounts/alice/balance", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/accounts/alice", 405, "GET, HEAD, OPTIONS, PATCH"),
        ("TRACE", "/healthz", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/v1/payments/", 404, None),
        ("POST", "/v1/Payments", 404, None),
        ("GET", "/", 404, None),
    ],
)
def test_a_path_that_exists_says_which_methods_it_has(
    shared_world: World, method: str, path: str, status: int, allowed: str | None
) -> None:
    response = shared_world.application.test_client().open(path, method=method)
    assert (response.status_code, response.headers.get("Allow")) == (status, allowed)
    assert_problem(response, status, "not_found" if status == 404 else "method_not_allowed")


def test_options_tells_the_methods_of_a_path(shared_world: World) -> None:
    response = shared_world.application.test_client().options("/v1/payments")
    assert (response.status_code, response.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_head_answers_as_get_without_the_body(shared_world: World) -> None:
    client = shared_world.application.test_client()
    assert (client.head("/healthz").status_code, client.head("/healthz").data) == (200, b"")


# What is not declared is refused


@pytest.mark.parametrize("route", all_routes(), ids=named)
def test_a_query_parameter_that_a_route_does_not_know_is_refused_by_name(shared_world: World, route: Route) -> None:
    response = shared_world.call(route.method, f"{path_of(route)}?limt=5", data=b"{}")
    assert assert_problem(response, 400, "malformed_request")["field"] == "limt"


@pytest.mark.parametrize("query", ["dry_run=false&dry_run=true", "dry_run=true&dry_run=true"])
def test_a_query_parameter_that_is_given_twice_is_refused(shared_world: World, query: str) -> None:
    response = shared_world.call("POST", f"/v1/payments?{query}", data=b"{}")
    assert assert_problem(response, 400, "malformed_request")["field"] == "dry_run"


@pytest.mark.parametrize("route", [one for one in WRITES if "{" in one.path], ids=named)
def test_a_dry_run_is_refused_where_there_is_none(shared_world: World, route: Route) -> None:
    if any(parameter.name == "dry_run" for parameter in route.parameters):
        pytest.skip("this one has a dry run")
    response = shared_world.call(route.method, f"{path_of(route)}?dry_run=true", data=b"{}")
    assert assert_problem(response, 400, "malformed_request")["field"] == "dry_run"


@pytest.mark.parametrize("route", WRITES, ids=named)
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
def test_a_precondition_is_honoured_or_refused_by_name(shared_world: World, route: Route, header: str) -> None:
    if any(one.name == header for one in route.headers):
        pytest.skip("this one honours it")
    response = shared_world.call(route.method, path_of(route), data=b"{}", headers={header: '"7"'})
    assert assert_problem(response, 400, "malformed_request")["field"] == header


@pytest.mark.parametrize("route", WITH_BODY, ids=named)
def test_a_field_that_a_body_does_not_have_is_refused(shared_world: World, route: Route) -> None:
    response = shared_world.call(route.method, path_of(route), data=b'{"amuont_minor": 5}')
    assert "amuont_minor" in assert_problem(response, 400, "malformed_request")["detail"]


# Bodies


class Cut(io.BytesIO):
    """A body that ends early: the client has gone."""


def posted(world: World, path: str, body: bytes, **environ: Any) -> Any:
    """Post a body as a server hands it in that ends the stream by itself."""
    given = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body), **environ}
    headers = {"Authorization": f"Bearer {world.key}"}
    return world.application.test_client().post(path, headers=headers, environ_overrides=given)


def authorized(world: World, amount_minor: int = 1_000) -> str:
    """An open authorization."""
    world.funded("alice", amount_minor)
    world.account("bob")
    response = world.pay("alice", "bob", amount_minor, capture="manual")
    assert response.status_code == 201
    payment_id: str = response.get_json()["payment_id"]
    return payment_id


@pytest.mark.parametrize(
    ("body", "environ"),
    [
        (b"", {"CONTENT_LENGTH": "22"}),
        (b'{"amount_minor"', {"CONTENT_LENGTH": "22"}),
        (b"", {"HTTP_TRANSFER_ENCODING": "chunked"}),
    ],
    ids=["none of 22 bytes", "15 of 22 bytes", "chunked without a chunk"],
)
def test_a_capture_whose_body_is_cut_off_captures_nothing(world: World, body: bytes, environ: dict[str, Any]) -> None:
    payment_id = authorized(world)
    response = posted(world, f"/v1/payments/{payment_id}/capture", body, **environ)
    assert_problem(response, 400, "malformed_request")
    assert world.get(f"/v1/payments/{payment_id}").get_json()["status"] == "authorized"
    assert world.post(f"/v1/payments/{payment_id}/capture", {}).get_json()["captured_minor"] == 1_000


def test_a_chunked_body_over_the_limit_is_refused_and_not_cut(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    body = json.dumps(payment(BANK, "alice", 1, external_id="long")).encode()
    response = posted(world, "/v1/payments", body + b" " * LARGEST_BODY, HTTP_TRANSFER_ENCODING="chunked")
    assert assert_problem(response, 413, "payload_too_large")["max_bytes"] == LARGEST_BODY
    exactly = body + b" " * (LARGEST_BODY - len(body))
    assert posted(world, "/v1/payments", exactly, HTTP_TRANSFER_ENCODING="chunked").status_code == 201


def test_a_body_where_none_is_taken_is_refused(shared_world: World) -> None:
    response = shared_world.call("GET", "/v1/accounts", data=b"{}")
    assert response.status_code in (400, 413)


def nested(depth: int) -> bytes:
    return b'{"metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


@pytest.mark.parametrize("route", WITH_BODY, ids=named)
@pytest.mark.parametrize("depth", [DEEPEST + 1, 8_000, 100_000])
def test_deep_json_is_refused_before_a_decoder_recurses_into_it(shared_world: World, route: Route, depth: int) -> None:
    response = shared_world.call(route.method, path_of(route), data=nested(depth))
    assert "nested deeper" in assert_problem(response, 400, "malformed_request")["detail"]


@pytest.mark.parametrize("text", ["[{" * 400, "[{" * 400 + '"\\', '\\"' + "[{" * 400])
def test_brackets_in_a_text_are_not_nesting(world: World, text: str) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    assert world.pay(BANK, "alice", 1, description=text).status_code == 201


@pytest.mark.parametrize("text", ["[{", '[{"', '"[{\\'])
def test_texts_before_it_hide_no_nesting(shared_world: World, text: str) -> None:
    deep = json.dumps({"description": text, "metadata": None}).encode()
    response = shared_world.post("/v1/payments", deep.replace(b"null", b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)))
    assert "nested deeper" in assert_problem(response, 400, "malformed_request")["detail"]


REPEATED = [
    b'{"external_id": "e", "external_id": "f"}',
    b'{"external_id": "e", "external_\\u0069d": "f"}',
    b'{"metadata": {"a": 1, "a": 2}}',
    b'{"metadata": {"a": 1, "\\u0061": 1}}',
    b'{"metadata": {"deep": [{"b": 1, "b": 2}]}}',
]


@pytest.mark.parametrize("repeated", REPEATED)
def test_a_key_that_stands_twice_is_refused_by_name(shared_world: World, repeated: bytes) -> None:
    whole = json.dumps(payment("alice", "bob", 1)).encode()[:-1] + b", " + repeated[1:]
    if b"metadata" not in repeated:
        whole = whole.replace(b'"external_id": "', b'"description": "', 1)
    response = shared_world.post("/v1/payments", whole)
    problem = assert_problem(response, 400, "malformed_request")
    assert "stands twice" in problem["detail"]
    assert problem["field"] in ("external_id", "a", "b")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/journals", b'{"external_id": "a", "external_id": "b", "entries": [], "reason": "r"}'),
        ("/v1/accounts", b'{"account_id": "a", "type": "asset", "type": "liability", "currency_code": "EUR"}'),
        ("/v1/payments/nothing/capture", b'{"amount_minor": 300, "amount_minor": null}'),
        ("/v1/payments/nothing/refunds", b'{"external_id": "r", "amount_minor": 1, "amount_minor": 2}'),
        ("/v1/payments/batch", b'{"payments": [], "atomic": true, "atomic": false}'),
        ("/v1/payments/batch", b'{"payments": [], "atomic": true, "\\u0061tomic": false}'),
    ],
)
def test_no_route_takes_the_last_of_two_equal_keys(shared_world: World, path: str, body: bytes) -> None:
    response = shared_world.post(path, body)
    assert response.status_code == 400
    assert response.get_json()["code"] == "malformed_request"


def test_a_key_twice_in_one_payment_of_a_batch_spoils_that_payment_alone(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    good = json.dumps(payment(BANK, "alice", 1)).encode()
    bad = json.dumps(payment(BANK, "alice", 1)).encode()[:-1] + b', "amount_minor": 100000}'
    response = world.post("/v1/payments/batch", b'{"payments": [' + good + b", " + bad + b"]}")
    items = response.get_json()["data"]
    assert [item["status"] for item in items] == [201, 400]
    assert items[1]["problem"]["field"] == "amount_minor"


# Cost


def test_a_payment_leaves_no_garbage_to_collect(world: World) -> None:
    """Cycles that a request leaves are collected sooner or later, and nobody is served meanwhile. The cycle of eight
    objects that Werkzeug's search for a route leaves is Flask's own; the server of the system does without it."""
    world.funded("alice", 1_000)
    world.account("bob")
    headers = {"Authorization": f"Bearer {world.key}"}
    builders = [
        EnvironBuilder("/v1/payments", method="POST", json=payment("alice", "bob", 1), headers=headers)
        for _ in range(PAYMENTS)
    ]
    environs = [builder.get_environ() for builder in builders]
    statuses: list[str] = []

    def pay(environ: dict[str, Any]) -> None:
        world.application.wsgi_app(environ, lambda status, *_: statuses.append(status) or statuses.append)  # type: ignore

    pay(environs.pop())
    gc.collect()
    gc.disable()
    try:
        for environ in environs:
            pay(environ)
        found = gc.collect()
    finally:
        gc.enable()
    assert statuses == ["201 CREATED"] * PAYMENTS
    assert found < 9 * PAYMENTS
