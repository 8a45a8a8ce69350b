"""The gate: a request brings what its route declares, and nothing else."""

import gc
import io
import json
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from app.api.application import all_routes
from app.api.responses import Refused
from app.api.routes import LARGEST_BODY, Parameter, Route
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


NUMBERS = [
    (route.name, one) for route in all_routes() for one in route.parameters if one.schema.get("type") == "integer"
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[0]}-{number[1].name}")
def test_a_number_is_read_within_the_bounds_that_the_document_tells(number: tuple[str, Parameter[Any]]) -> None:
    _, parameter = number
    least, most = parameter.schema["minimum"], parameter.schema["maximum"]
    assert (parameter.read(str(least)), parameter.read(str(most))) == (least, most)
    for beyond in (least - 1, most + 1):
        with pytest.raises(Refused):
            parameter.read(str(beyond))
