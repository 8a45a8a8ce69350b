"""A long stream through the real server: answered while it comes, in constant memory, with a ledger that is right."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.batches import BLOCK
from app.command_line import PROJECT
from tests.api.world import payment
from tests.batches.world import BANK, NDJSON, PATH
from tests.embedded.test_up import System
from tests.patience import until

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
LINES = 1_000_000 if IS_LONG else 50_000
USERS = 1_000
GROWTH_BYTES = 48 * 1024 * 1024
"""What one process of the API may grow by: its own warming up, and no share of the lines (some hundred bytes each)."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("stream") / "data")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


class Caller:
    """A client of the running system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.headers = {"Authorization": f"Bearer {(system.data_dir / 'api-key').read_text().strip()}"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port, timeout=30)
        connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status < 300, answer
        return answer

    def stream(self) -> socket.socket:
        """A connection on which the head of a stream has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.system.port), timeout=120)
        head = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Content-Type: {NDJSON}", "Transfer-Encoding: chunked"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return connection

    def drained(self) -> None:
        until(lambda: self.call("GET", "/readyz")["backlog"] == 0)

    def balance(self, account_id: str) -> int:
        return int(self.call("GET", f"/v1/accounts/{account_id}/balance")["balance_minor"])

    def resident_bytes(self) -> int:
        """The memory of the largest process of the API."""
        (granian,) = self.system.named("granian")
        return max(int(process.memory_info().rss) for process in granian.children(recursive=True))

    def prove(self) -> None:
        for command in (["reconcile", "--full"], ["verify"]):
            arguments = [sys.executable, "-m", "app", *command, "--data-dir", str(self.system.data_dir)]
            proof = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True, timeout=600)
            assert proof.returncode == 0, proof.stdout + proof.stderr


@pytest.fixture(scope="module")
def caller(system: System) -> Caller:
    caller = Caller(system)
    caller.call("POST", "/v1/accounts", {"account_id": BANK, "type": "asset", "currency_code": "EUR"})
    for n in range(USERS):
        caller.call("POST", "/v1/accounts", {"account_id": f"user-{n}", "type": "liability", "currency_code": "EUR"})
    return caller


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


def send(connection: socket.socket, lines: int, run: str) -> None:
    """Deposits to every user in turn, a thousand lines a chunk."""
    for start in range(0, lines, 1_000):
        numbers = range(start, min(start + 1_000, lines))
        text = b"".join(
            b'{"external_id":"%s-%d","source_account_id":"%s","destination_account_id":"user-%d",'
            b'"amount_minor":1,"currency_code":"EUR"}\n' % (run.encode(), n, BANK.encode(), n % USERS)
            for n in numbers
        )
        connection.sendall(chunk(text))
    connection.sendall(b"0\r\n\r\n")


def answers(connection: socket.socket) -> Iterator[dict[str, Any]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert (response.status, response.headers["Content-Type"]) == (200, NDJSON)
    yield from map(json.loads, response)


@pytest.mark.timeout(1_800 if IS_LONG else 300)
def test_a_long_stream_is_answered_in_constant_memory_and_the_ledger_is_right(caller: Caller) -> None:
    def run(lines: int, name: str) -> tuple[Counter[int], float]:
        started = time.monotonic()
        with caller.stream() as connection:
            sender = threading.Thread(target=send, args=(connection, lines, name))
            sender.start()
            statuses: Counter[int] = Counter()
            for number, answer in enumerate(answers(connection), start=1):
                assert answer["line"] == number
                statuses[answer["status"]] += 1
                if number % 10_000 == 0:
                    seen.append(caller.resident_bytes())
            sender.join()
        return statuses, time.monotonic() - started

    seen: list[int] = []
    assert run(2_000, "warm")[0] == {201: 2_000}
    before = caller.resident_bytes()
    statuses, seconds = run(LINES, "first")
    answered = time.monotonic()
    assert statuses == {201: LINES}
    growth = max(seen) - before
    caller.drained()
    print(
        f"\n{LINES:,} lines in {seconds:.1f} s, {LINES / seconds:,.0f} a second; in the ledger "
        f"{time.monotonic() - answered:.1f} s later; API at {before / 2**20:.0f} MiB, grew by {growth / 2**20:.1f} MiB"
    )
    assert growth < GROWTH_BYTES
    assert caller.balance(BANK) == LINES + 2_000
    assert {caller.balance(f"user-{n}") for n in (0, USERS - 1)} == {(LINES + 2_000) // USERS}
    assert run(5_000, "first")[0] == {200: 5_000}, "a stream sent again is answered and moves nothing"
    caller.drained()
    assert caller.balance(BANK) == LINES + 2_000
    caller.prove()


def test_answers_come_before_the_stream_has_ended(caller: Caller) -> None:
    line = json.dumps(payment(BANK, "user-1", 1, metadata={"note": "x" * 400})).encode() + b"\n"
    lines_a_block = BLOCK // len(line)
    with caller.stream() as connection:
        connection.sendall(chunk(line * (lines_a_block + 1)))
        response = http.client.HTTPResponse(connection)
        response.begin()
        first = [json.loads(response.readline()) for _ in range(lines_a_block)]
        assert [answer["status"] for answer in first] == [201] + [200] * (lines_a_block - 1)
        connection.sendall(chunk(b"nonsense\n") + b"0\r\n\r\n")
        rest = [json.loads(answer) for answer in response]
        assert [answer["status"] for answer in rest] == [200, 400]


def test_a_stream_that_breaks_off_has_done_what_it_was_answered_for(caller: Caller) -> None:
    caller.drained()
    before = caller.balance(BANK)
    with caller.stream() as connection:
        sender = threading.Thread(target=_send_in_part, args=(connection, 3_000))
        sender.start()
        response = http.client.HTTPResponse(connection)
        response.begin()
        answered = [json.loads(response.readline()) for _ in range(1_000)]
        sender.join()
    assert {answer["status"] for answer in answered} == {201}
    with caller.stream() as connection:
        sender = threading.Thread(target=send, args=(connection, 3_000, "broken"))
        sender.start()
        statuses = Counter(answer["status"] for answer in answers(connection))
        sender.join()
    assert set(statuses) <= {200, 201}
    assert statuses[200] >= 1_000
    caller.drained()
    assert caller.balance(BANK) == before + 3_000


def _send_in_part(connection: socket.socket, lines: int) -> None:
    for start in range(0, lines, 1_000):
        text = b"".join(
            json.dumps(payment(BANK, f"user-{n % USERS}", 1, external_id=f"broken-{n}")).encode() + b"\n"
            for n in range(start, start + 1_000)
        )
        connection.sendall(chunk(text))
