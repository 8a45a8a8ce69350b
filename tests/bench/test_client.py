"""The generator against a server that stalls on purpose: what a closed loop hides, an open loop must show."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from bench.load.client import BROKEN, Sample, closed_loop, open_loop
from bench.load.requests import rendered

STALL_S = 0.4
BODY = b'{"status":"posted"}'


class Numbered:
    """Requests with nothing in them."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> tuple[int, bytes]:
        self.count += 1
        return self.count - 1, rendered("POST", "/", {}, b"{}")

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:
        return None


@contextmanager
def server(*, stall_after_s: float | None = None, cut: bool = False, split: bool = False) -> Iterator[tuple[str, int]]:
    """Answers each request at once, but stalls all connections once, or cuts them, or answers in pieces."""
    stalled_until = [0.0]
    begin: list[float] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65_536):
                if not begin:
                    begin.append(time.monotonic())
                if stall_after_s is not None and not stalled_until[0] and time.monotonic() - begin[0] > stall_after_s:
                    stalled_until[0] = time.monotonic() + STALL_S
                time.sleep(max(0.0, stalled_until[0] - time.monotonic()))
                if cut and len(request) > 0:
                    return
                head = b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\n\r\n" % len(BODY)
                for part in (head[:20], head[20:] + BODY[:3], BODY[3:]) if split else (head + BODY,):
                    connection.sendall(part)
                    time.sleep(0.001 if split else 0)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()
    finally:
        listener.close()


def latencies_ms(sample: Sample) -> list[float]:
    return sorted(1000 * (received - due) for received, due in zip(sample.received, sample.intended, strict=True))


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    rate, seconds = 200.0, 1.2
    with server(stall_after_s=0.3) as address:
        sample = open_loop(address, Numbered(), connections=4, begin=time.monotonic(), seconds=seconds, rate=rate)
    assert len(sample.numbers) == rate * seconds, "every request that was due is in the sample"
    waited = [latency for latency in latencies_ms(sample) if latency > 20]
    # All requests that came due during the stall waited for its end: rate × stall of them, half its length on average.
    assert len(waited) == pytest.approx(rate * STALL_S, rel=0.25)
    assert sum(waited) / len(waited) == pytest.approx(1000 * STALL_S / 2, rel=0.3)


def test_requests_are_due_at_a_fixed_rate_whatever_the_answers_do() -> None:
    with server(stall_after_s=0.1) as address:
        sample = open_loop(address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.6, rate=100)
    due = sorted(sample.intended)
    assert [round(later - earlier, 4) for earlier, later in pairwise(due)] == [0.01] * (len(due) - 1)


def test_a_closed_loop_hides_that_stall() -> None:
    with server(stall_after_s=0.3) as address:
        sample = closed_loop(address, Numbered(), connections=4, begin=time.monotonic(), seconds=1.0)
    slow = [latency for latency in latencies_ms(sample) if latency > 100]
    assert len(slow) <= 8, "one a connection: that is why latencies are taken from the open loop"


def test_a_cut_connection_is_an_unknown_outcome_and_not_a_silence() -> None:
    with server(cut=True) as address:
        sample = closed_loop(address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.2)
    assert set(sample.statuses) == {BROKEN}


def test_answers_in_pieces_are_put_together() -> None:
    with server(split=True) as address:
        sample = closed_loop(address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.2)
    assert set(sample.statuses) == {201}
    assert len(set(sample.numbers)) == len(sample.numbers)
