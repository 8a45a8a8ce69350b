"""The framework: a feature of Flask that it leaves out is refused, not ignored."""

import gc
import io
from typing import Any

import pytest
from flask import Request, Response
from werkzeug.test import EnvironBuilder

from app.api.application import LeanFlask
from app.api.requests import raw_body
from tests.api.world import World, payment

PAYMENTS = 30


def application(check: Any = lambda request: None) -> LeanFlask:
    built = LeanFlask("tested", check=check)
    built.add_url_rule("/echo", view_func=lambda: Response(raw_body()), methods=["POST"])
    built.add_url_rule("/echo/<word>", "word", view_func=lambda word: Response(word))
    built.config.update(MAX_CONTENT_LENGTH=10, TESTING=True)
    return built


@pytest.mark.parametrize("hook", ["before_request", "after_request", "url_value_preprocessor"])
def test_a_hook_that_would_never_be_called_is_refused_at_the_start(hook: str) -> None:
    built = application()
    getattr(built, hook)(lambda *_: None)
    with pytest.raises(TypeError, match="hooks"):
        built.require_no_hooks()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/echo", 200),
        ("OPTIONS", "/echo", 200),
        ("GET", "/echo", 405),
        ("GET", "/echo/word", 200),
        ("POST", "/echo/word", 405),
        ("POST", "/echo/", 404),
        ("POST", "/Echo", 404),
    ],
)
def test_routes_are_found_with_a_variable_and_without(method: str, path: str, status: int) -> None:
    response = application().test_client().open(path, method=method, data=b"body")
    assert response.status_code == status
    assert (status == 405) == (method not in response.headers.get("Allow", method))


def test_a_payment_leaves_no_garbage_to_collect(world: World) -> None:
    """Cycles that a request leaves behind are collected sooner or later, and no request is served meanwhile."""
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
    assert found < PAYMENTS, "not even one object a payment; a few may be another thread's"


def test_the_check_sees_every_request_before_its_view() -> None:
    seen: list[str] = []

    def check(request: Request) -> None:
        seen.append(request.path)
        raise PermissionError

    client = application(check).test_client()
    with pytest.raises(PermissionError):
        client.post("/echo", data=b"body")
    assert seen == ["/echo"]


class Dripping(io.BytesIO):
    """A body that comes a byte at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 if size else 0)


def served(body: bytes, length: int) -> tuple[int, bytes]:
    """Status and content of the answer to a body, from a server that ends the stream itself."""
    environ = {"wsgi.input_terminated": True, "wsgi.input": Dripping(body), "CONTENT_LENGTH": str(length)}
    response = application().test_client().post("/echo", environ_overrides=environ)
    return response.status_code, response.data


def test_a_body_that_comes_in_pieces_is_read_whole() -> None:
    assert served(b"123456789", 9) == (200, b"123456789")


def test_a_body_that_ends_before_its_length_is_read_as_far_as_it_came() -> None:
    assert served(b"12345", 9) == (200, b"12345")


def test_a_body_of_the_largest_length_passes_and_a_longer_one_is_refused() -> None:
    assert served(b"1234567890", 10) == (200, b"1234567890")
    assert served(b"12345678901", 11)[0] == 413
