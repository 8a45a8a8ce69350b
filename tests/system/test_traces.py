"""Traces: one payment through API, drain and ledger, as a receiver of OTLP gets it; and nothing without an endpoint."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.command_line import PROJECT
from tests.api.world import BANK, payment
from tests.audit.running import Audited, audited_system
from tests.patience import COMMAND_S, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Receiver:
    """A receiver of traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {one.key: one.value for one in span.attributes}
                    self.spans.append(
                        {
                            "process": names["service.name"],
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "links": [one.trace_id.hex() for one in span.links],
                            "attributes": told,
                            "began": span.start_time_unix_nano,
                            "ended": span.end_time_unix_nano,
                        }
                    )

    def of_trace(self, trace: str) -> list[dict[str, Any]]:
        return sorted((one for one in self.spans if one["trace"] == trace), key=lambda one: int(one["began"]))


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with audited_system(tmp_path_factory.mktemp("traced") / "data", **told) as audited:
        yield audited


def test_one_payment_is_a_trace_through_api_drain_and_ledger(traced: Audited, receiver: Receiver) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X_Request_Id": "traced-1", "Prefer": "wait=20"}
    status, paid = traced.call("POST", "/v1/payments", payment(BANK, "alice", 5), **headers)
    assert (status, paid["status"]) == (201, "posted")
    wanted = {"POST /v1/payments", "reserve", "wait for the ledger", "post", "COPY ledger_transaction"}
    until(lambda: wanted <= {one["name"] for one in receiver.of_trace(TRACE)}, lambda: str(receiver.spans))
    spans = {one["name"]: one for one in receiver.of_trace(TRACE)}
    call, post = spans["POST /v1/payments"], spans["post"]
    assert (call["process"], call["parent"]) == ("holdfast-api", PARENT)
    assert call["attributes"]["holdfast.request_id"].string_value == "traced-1"
    assert call["attributes"]["http.response.status_code"].int_value == 201
    for name in ("reserve", "wait for the ledger"):
        assert (spans[name]["process"], spans[name]["parent"]) == ("holdfast-api", call["id"])
    assert (post["process"], post["parent"]) == ("holdfast-drain", call["id"])
    assert post["attributes"]["holdfast.payments"].int_value == 1
    statements = [one for one in receiver.of_trace(TRACE) if one["parent"] == post["id"]]
    assert {one["name"] for one in statements} >= {
        "COPY ledger_transaction",
        "COPY entry",
        "COPY audit_call",
    }
    assert all(post["began"] <= one["began"] <= one["ended"] <= post["ended"] for one in statements)
    [record] = traced.sql("SELECT request_id, route FROM audit_call WHERE request_id = 'traced-1'")
    assert record == ("traced-1", "/v1/payments")


def test_a_batch_of_several_is_linked_with_the_trace_of_each(traced: Audited, receiver: Receiver) -> None:
    traces = [f"{number:032x}" for number in range(1, 4)]
    body = [payment(BANK, "alice", 1) for _ in range(3)]
    for trace in traces:
        headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
        assert traced.call("POST", "/v1/payments/batch", {"payments": body}, **headers)[0] == 200
        body = [payment(BANK, "alice", 1) for _ in range(3)]
    until(lambda: all("post" in {one["name"] for one in receiver.of_trace(trace)} for trace in traces))
    batches = [one for one in receiver.spans if one["name"] == "post" and one["links"] and one["trace"] not in traces]
    assert batches
    for batch in batches:
        assert set(batch["links"]) <= set(traces)
        assert batch["attributes"]["holdfast.payments"].int_value >= len(batch["links"])


def test_a_call_that_its_client_does_not_trace_leaves_no_span_in_the_drain(traced: Audited, receiver: Receiver) -> None:
    untraced = "f" * 32
    headers = {"traceparent": f"00-{untraced}-{PARENT}-00", "Prefer": "wait=20"}
    assert traced.call("POST", "/v1/payments", payment(BANK, "alice", 5), **headers)[0] == 201
    assert receiver.of_trace(untraced) == []


def test_a_call_that_reads_has_its_statements_as_spans(traced: Audited, receiver: Receiver) -> None:
    trace = "a" * 32
    status, _ = traced.call("GET", "/v1/accounts/alice/entries", traceparent=f"00-{trace}-{PARENT}-01")
    assert status == 200
    until(lambda: PARENT in {one["parent"] for one in receiver.of_trace(trace)})
    [call] = [one for one in receiver.of_trace(trace) if one["parent"] == PARENT]
    assert call["name"] == "GET /v1/accounts/{account_id}/entries"
    statements = [one for one in receiver.of_trace(trace) if one["parent"] == call["id"]]
    assert any(one["name"].startswith("SELECT") for one in statements)


def test_without_an_endpoint_nothing_of_it_is_imported(tmp_path: Path) -> None:
    program = f"""
import sys
OURS = {("app.tracing", "google.protobuf", "opentelemetry.exporter", "opentelemetry.sdk.trace")!r}
import workers.api, workers.drain
from app.wiring.tracing import start_tracing
start_tracing(workers.api.settings, "api")
print([name for name in sys.modules if name.startswith(OURS)])
"""
    environment = {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=environment | {"HOLDFAST_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=True,
    )
    assert done.stdout.strip() == "[]"
