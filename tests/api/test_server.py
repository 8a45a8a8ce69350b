"""The API's own server: clients that send slowly, or nothing, or half of something, take nothing from others."""

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from app.api import server
from app.api.application import all_routes
from app.api.server import Server
from tests.api.world import BANK, World, payment
from tests.embedded.test_up import System
from tests.patience import PATIENCE_S, until

BODY_DEADLINE_S = 3
SLOW = 150
"""More than all threads of both processes."""
SILENT = 600


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("server") / "data", HOLDFAST_BODY_DEADLINE_S=str(BODY_DEADLINE_S))
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def key(system: System) -> str:
    return (system.data_dir / "api-key").read_text().strip()


@pytest.fixture(scope="module", autouse=True)
def accounts(system: System, key: str) -> None:
    for account_id, type in ((BANK, "asset"), ("alice", "liability")):
        body = {"account_id": account_id, "type": type, "currency_code": "EUR"}
        assert asked(system, key, "POST", "/v1/accounts", json.dumps(body).encode())[0] in (200, 201)


def asked(system: System, key: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and decoded body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None


def opened(system: System, *lines: str, body: bytes = b"") -> socket.socket:
    """A connection on which these lines of a head, and a part of a body, have been sent."""
    connection = socket.create_connection(("127.0.0.1", system.port), timeout=PATIENCE_S)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body if lines else body)
    return connection


def head(key: str, path: str = "/v1/payments", *more: str) -> list[str]:
    return [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *more]


def answer_on(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """What is answered on a connection: status, headers, decoded body."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    text = response.read()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(text) if text else None


def paid(system: System, key: str, external_id: str) -> int:
    body = payment(BANK, "alice", 1, external_id=external_id)
    return asked(system, key, "POST", "/v1/payments", json.dumps(body).encode())[0]


def test_slow_bodies_hold_up_nobody_and_end_at_the_deadline(system: System, key: str) -> None:
    began = time.monotonic()
    slow = [opened(system, *head(key, "/v1/payments", "Content-Length: 500"), body=b'{"ext') for _ in range(SLOW)]
    try:
        assert asked(system, key, "GET", "/healthz")[0] == 200
        assert paid(system, key, "beside slow ones") == 201
        assert time.monotonic() - began < BODY_DEADLINE_S, "answered while all the others were still sending"
        for connection in slow:
            status, headers, problem = answer_on(connection)
            assert (status, problem["code"], headers["connection"]) == (408, "request_timeout", "close")
    finally:
        for connection in slow:
            connection.close()


def test_silent_connections_hold_up_nobody(system: System, key: str) -> None:
    silent = [opened(system) for _ in range(SILENT)]
    try:
        assert asked(system, key, "GET", "/healthz")[0] == 200
        assert paid(system, key, "beside silent ones") == 201
        assert silent[0].recv(1_000) == b"", "closed after a while"
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("sent", [b"", b'{"external_id": "cut'])
def test_a_body_that_is_cut_off_does_nothing(system: System, key: str, sent: bytes) -> None:
    connection = opened(system, *head(key, "/v1/payments", "Content-Length: 200"), body=sent)
    connection.shutdown(socket.SHUT_WR)
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        assert answer_on(connection)[0] == 400
    connection.close()
    assert asked(system, key, "GET", "/v1/payments?external_id=cut")[1]["data"] == []


def test_a_chunked_body_over_the_limit_is_refused_and_the_connection_closed(system: System, key: str) -> None:
    connection = opened(system, *head(key, "/v1/payments", "Transfer-Encoding: chunked"))
    whole = json.dumps(payment(BANK, "alice", 1, external_id="long")).encode()
    with contextlib.suppress(ConnectionError):
        for piece in (whole, *[b" " * 65_536] * 20):
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
    status, headers, problem = answer_on(connection)
    assert (status, problem["code"], headers["connection"]) == (413, "payload_too_large", "close")
    connection.close()
    assert asked(system, key, "GET", "/v1/payments?external_id=long")[1]["data"] == []


def test_a_length_over_the_limit_is_refused_before_the_body_is_sent(system: System, key: str) -> None:
    connection = opened(system, *head(key, "/v1/payments", "Content-Length: 99999999"))
    assert answer_on(connection)[0] == 413
    connection.close()


def test_a_key_is_checked_before_a_body_is_taken(system: System) -> None:
    connection = opened(system, *head("hf_nobody_nothing", "/v1/payments/batch", "Content-Length: 9999999"))
    assert answer_on(connection)[0] == 401
    connection.close()


def test_a_connection_is_kept_for_further_requests(system: System, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        for number in range(3):
            body = json.dumps(payment(BANK, "alice", 1, external_id=f"kept-{number}")).encode()
            connection.request("POST", "/v1/payments", body, {"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            assert (response.status, response.getheader("content-type")) == (201, "application/json")
            assert json.loads(response.read())["external_id"] == f"kept-{number}"


def test_a_head_request_has_no_body(system: System, key: str) -> None:
    assert asked(system, key, "HEAD", "/healthz") == (200, None)


def test_a_wait_is_answered_when_the_ledger_has_answered(system: System, key: str) -> None:
    connection = opened(
        system,
        *head(key, "/v1/payments", "Prefer: wait=20"),
        f"Content-Length: {len(WAITED)}",
        body=WAITED,
    )
    status, headers, body = answer_on(connection)
    assert (status, body["status"], headers["preference-applied"]) == (201, "posted", "wait=20")
    connection.close()


WAITED = json.dumps(payment(BANK, "alice", 1, external_id="waited")).encode()


def test_the_processes_stay_ready_after_all_this(system: System, key: str) -> None:
    until(lambda: system.status() == 200)
    assert asked(system, key, "GET", "/readyz")[1]["status"] == "ready"


class Protocol:
    """A request's body and answer, as granian hands them to the application."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.answers: list[tuple[int, Any]] = []

    def __aiter__(self) -> "Protocol":
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop(0)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append((status, json.loads(body)))


def test_a_process_holds_only_so_many_bodies_at_once(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODIES_IN_MEMORY", 100)
    here = Server(shared_world.services, all_routes(), body_deadline_s=5)
    headers = {"authorization": f"Bearer {shared_world.key}", "transfer-encoding": "chunked"}
    scope = SimpleNamespace(
        method="POST", path="/v1/payments", query_string="", headers=headers, client="127.0.0.1:50000"
    )
    busy, small = Protocol(b" " * 60, b" " * 60), Protocol(b"{}")
    asyncio.run(here.__rsgi__(scope, busy))
    asyncio.run(here.__rsgi__(scope, small))
    assert [(status, body["code"]) for status, body in busy.answers] == [(503, "server_busy")]
    assert [body["code"] for _, body in small.answers] == ["malformed_request"], "what was refused is held no longer"


def test_what_a_body_says_of_its_length_counts_as_held_while_it_is_awaited(
    shared_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODIES_IN_MEMORY", 100)
    here = Server(shared_world.services, all_routes(), body_deadline_s=5)

    def answered(length: int) -> str:
        protocol = WholeBody(b"{" + b" " * (length - 2) + b"}")
        headers = {"authorization": f"Bearer {shared_world.key}", "content-length": str(length)}
        scope = SimpleNamespace(
            method="POST", path="/v1/payments", query_string="", headers=headers, client="127.0.0.1:50000"
        )
        asyncio.run(here.__rsgi__(scope, protocol))
        [(_, body)] = protocol.answers
        return str(body["code"])

    assert [answered(101), answered(100), answered(100)] == ["server_busy", "malformed_request", "malformed_request"]


class WholeBody(Protocol):
    """A body that is awaited in one piece."""

    async def __call__(self) -> bytes:
        return b"".join(self._pieces)
