"""A whole system: its answers name their requests, its processes log alike, and the console tells of a crash."""

import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.embedded.test_up import System
from tests.patience import PATIENCE_S, until

OF_THE_SERVERS = ("postgres", "valkey", "cache")
"""Postgres and Valkey write their own logs."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("logs") / "data", HOLDFAST_BODY_DEADLINE_S="1")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def answered(system: System, head: list[str], body: bytes = b"") -> tuple[int, str | None]:
    """Status and request id of the answer to a raw request."""
    with socket.create_connection(("127.0.0.1", system.port), timeout=PATIENCE_S) as connection:
        connection.sendall("\r\n".join([*head, "Host: localhost", "", ""]).encode() + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.getheader("X-Request-Id")


def authorization(system: System) -> str:
    return f"Authorization: Bearer {(system.data_dir / 'api-key').read_text().strip()}"


def test_the_server_names_also_what_it_refuses(system: System) -> None:
    authorized, named = authorization(system), "X-Request-Id: mine"
    expected = {
        200: ["GET /healthz HTTP/1.1"],
        401: ["GET /v1/accounts HTTP/1.1"],
        404: ["GET /nowhere HTTP/1.1"],
        405: ["DELETE /healthz HTTP/1.1"],
        400: ["POST /v1/payments HTTP/1.1", authorized, "Content-Length: 2"],
        408: ["POST /v1/payments HTTP/1.1", authorized, "Content-Length: 20"],
        413: ["POST /v1/payments HTTP/1.1", authorized, "Content-Length: 2000000"],
    }
    for status, head in expected.items():
        body = b"{]" if "POST" in head[0] else b""
        assert answered(system, [*head, named], body) == (status, "mine")
    _, made = answered(system, ["GET /healthz HTTP/1.1", "X-Request-Id: not sane"])
    assert made is not None
    assert re.fullmatch("[0-9a-f]{24}", made)


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def process_logs(system: System) -> list[Path]:
    return [log for log in (system.data_dir / "logs").glob("*.log") if not log.name.startswith(OF_THE_SERVERS)]


def test_every_line_of_every_process_is_an_event(system: System) -> None:
    unlucky = ["GET /v1/accounts HTTP/1.1", authorization(system), "X-Request-Id: unlucky"]

    def goes_wrong() -> bool:
        for postmaster in system.named("/postgres -D"):
            postmaster.kill()
        return answered(system, unlucky)[0] == 503

    until(goes_wrong)
    until(lambda: system.status() == 200)
    logged = [event for log in process_logs(system) for event in events(log)]
    assert logged
    for event in logged:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event
        assert event["level"] in ("INFO", "WARNING", "ERROR", "CRITICAL"), event
        assert event["process"] in ("api", "deliver", "drain", "maintain", "schedule"), event
        assert event["pid"], event
        assert event["message"], event
    assert "unlucky" in {event.get("request_id") for event in events(system.data_dir / "logs" / "api.log")}


def test_the_console_tells_how_a_process_ended_and_its_last_lines(tmp_path: Path) -> None:
    system = System(tmp_path).wait_ready()
    (granian,) = system.named("granian")
    worker = granian.children()[0]
    (drain, *_) = system.named("workers.drain")
    worker.send_signal(signal.SIGSEGV)
    drain.kill()
    psutil.wait_procs([worker, drain], timeout=PATIENCE_S)
    until(lambda: len(system.named("workers.drain")) == 2 and worker.pid not in {one.pid for one in granian.children()})
    until(lambda: f"process {worker.pid}" in (tmp_path / "logs" / "api.log").read_text())
    until(lambda: system.status() == 200)
    output = system.stop()
    assert re.search(rf"api: Unexpected exit from worker-\d+: process {worker.pid} was killed by SIGSEGV;", output), (
        output
    )
    assert re.search(r"drain-\d was killed by SIGKILL; starting again in .*; its last lines:\n    ", output), output
