"""The generator against a server that stalls on purpose: what a closed loop hides, an open loop must show."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from bench.load.client import BROKEN, closed_loop, open_loop
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

    def judge(self, status: int, body: bytes) -> int:
        return status

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:
        return None


@dataclass
class Server:
    """Where it listens, what it was asked, and when it stalled; times are monotonic seconds."""

    address: tuple[str, int]
    stall_at: int | None
    requests: int = 0
    stalled_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stall_left(self) -> float:
        """How long a request that came now has to wait; a request after the first of a stall waits for its end."""
        with self._lock:
            self.requests += 1
            now = time.monotonic()
            if self.requests == self.stall_at:
                self.stalled_until = now + STALL_S
            return max(0.0, self.stalled_until - now)


@contextmanager
def server(*, stall_at: int | None = None, cut: bool = False, split: bool = False) -> Iterator[Server]:
    """Answers at once; or stalls all connections from one request on, or cuts them, or answers in pieces."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = Server(listener.getsockname(), stall_at)

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                time.sleep(running.stall_left())
                if cut:
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
        yield running
    finally:
        listener.close()


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    rate, seconds = 200.0, 2.0
    with server(stall_at=5) as one:
        begin = time.monotonic() + 0.5  # it collects its garbage first
        sample = open_loop(one.address, Numbered(), connections=4, begin=begin, seconds=seconds, rate=rate)
    schedule = [begin + number / rate for number in range(int(rate * seconds))]
    assert sorted(sample.intended) == schedule, "every request that was due is in the sample"
    waited = {due: received - due for due, received in zip(sample.intended, sample.received, strict=True)}
    due_in_the_stall = [
        due
        for due, sent in zip(sample.intended, sample.sent, strict=True)
        if due < one.stalled_until and sent > one.stalled_until - STALL_S
    ]
    assert len(due_in_the_stall) > 4, "more than four connections can have sent"
    for due in due_in_the_stall:
        assert waited[due] >= one.stalled_until - due, "each waited for the end of the stall"


def test_requests_are_due_at_a_fixed_rate_whatever_the_answers_do() -> None:
    with server(stall_at=10) as one:
        sample = open_loop(one.address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.6, rate=100)
    due = sorted(sample.intended)
    assert [round(later - earlier, 4) for earlier, later in pairwise(due)] == [0.01] * 59


def test_a_closed_loop_hides_that_stall() -> None:
    with server(stall_at=4) as one:  # the first of each connection is sent however late it is
        sample = closed_loop(one.address, Numbered(), connections=4, begin=time.monotonic(), seconds=1.0)
    begun = one.stalled_until - STALL_S
    waited = [
        sent
        for sent, received in zip(sample.sent, sample.received, strict=True)
        if sent < one.stalled_until <= received and received > begun
    ]
    assert 1 <= len(waited) <= 4, "one a connection: that is why latencies are taken from the open loop"


def test_a_cut_connection_is_an_unknown_outcome_and_not_a_silence() -> None:
    with server(cut=True) as one:
        sample = closed_loop(one.address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.2)
    assert set(sample.statuses) == {BROKEN}


def test_answers_in_pieces_are_put_together() -> None:
    with server(split=True) as one:
        sample = closed_loop(one.address, Numbered(), connections=2, begin=time.monotonic(), seconds=0.2)
    assert set(sample.statuses) == {201}
    assert len(set(sample.numbers)) == len(sample.numbers)
