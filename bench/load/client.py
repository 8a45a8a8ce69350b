"""The generator: raw HTTP/1.1 over keep-alive connections, in one process without threads.

Closed loop: each connection sends again as soon as it is answered; for saturation. Open loop: requests are due at a
fixed rate whatever the server does, and latency counts from the moment a request was *due*, so that a server that
stalls cannot hide the requests that would have come meanwhile (no coordinated omission).
"""

import gc
import select
import socket
import time
from array import array
from collections import deque
from dataclasses import dataclass, field

from bench.load.requests import Source

DRAIN_SECONDS = 10.0
"""How long answers still on their way at the end are waited for: their outcome counts in the audit, not in the rate."""

CONNECT_SECONDS = 5.0
BROKEN = 0
"""The status of a request whose connection ended before an answer came: its outcome is unknown."""


class Disconnected(Exception):
    """The server ended the connection."""


@dataclass
class Sample:
    """What a load process did: parallel columns, one row a request; times are CLOCK_MONOTONIC seconds."""

    began: float = 0.0
    ended: float = 0.0
    numbers: array = field(default_factory=lambda: array("q"))
    intended: array = field(default_factory=lambda: array("d"))
    sent: array = field(default_factory=lambda: array("d"))
    received: array = field(default_factory=lambda: array("d"))
    statuses: array = field(default_factory=lambda: array("H"))
    followed: array = field(default_factory=lambda: array("b"))
    first_refusal: bytes = b""

    def add(self, connection: "Connection", received: float, status: int, body: bytes) -> None:
        """One answered request."""
        self.numbers.append(connection.number)
        self.intended.append(connection.intended)
        self.sent.append(connection.sent)
        self.received.append(received)
        self.statuses.append(status)
        self.followed.append(connection.followed)
        if status not in (200, 201) and not self.first_refusal:
            self.first_refusal = body[max(0, body.find(b'"problem"')) :][:300]  # in a batch, the first one refused


class Connection:
    """One keep-alive connection and the request on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket = self._connected()
        self._buffer = b""
        self.number = 0
        self.intended = 0.0
        self.sent = 0.0
        self.followed = 0
        self.busy = False

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def fileno(self) -> int:
        """For select and epoll."""
        return self._socket.fileno()

    def send(self, number: int, request: bytes, intended: float, *, followed: int = 0) -> None:
        """Sends a request that was due at `intended`."""
        self.number, self.intended, self.followed = number, intended, followed
        self.busy = True
        self.sent = time.monotonic()
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body when they are complete; call it when there is something to read."""
        chunk = self._socket.recv(262_144)
        if not chunk:
            raise Disconnected
        self._buffer = self._buffer + chunk if self._buffer else chunk
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = self._buffer[:head_end].lower()
        if b"transfer-encoding: chunked" in head:  # a streamed answer; its body is not looked into
            if not self._buffer.endswith(b"0\r\n\r\n"):
                return None
            length = len(self._buffer)
        else:
            length = _content_length(head)
            if len(self._buffer) < head_end + 4 + length:
                return None
        status, body = int(self._buffer[9:12]), self._buffer[head_end + 4 : head_end + 4 + length]
        self._buffer = b""
        self.busy = False
        return status, body

    def reopen(self) -> None:
        """Starts over after an error."""
        self.close()
        self._socket = self._connected()
        self._buffer = b""
        self.busy = False

    def close(self) -> None:
        """Ends it."""
        self._socket.close()


def _content_length(head: bytes) -> int:
    at = head.find(b"content-length:")
    if at < 0:
        return 0
    end = head.find(b"\r\n", at)
    return int(head[at + 15 : end if end > 0 else len(head)])


def closed_loop(address: tuple[str, int], source: Source, *, connections: int, begin: float, seconds: float) -> Sample:
    """Saturates: as many requests in flight as there are connections, from `begin` on for `seconds`."""
    pool = [Connection(address) for _ in range(connections)]
    by_fileno = {connection.fileno(): connection for connection in pool}
    poll = select.epoll()
    for fileno in by_fileno:
        poll.register(fileno, select.EPOLLIN)
    with _undisturbed():
        _sleep_until(begin)
        sample = Sample(began=time.monotonic())
        sample.ended = end = sample.began + seconds
        in_flight = 0
        for connection in pool:
            number, request = source.next()
            connection.send(number, request, time.monotonic())
            in_flight += 1
        while in_flight and (now := time.monotonic()) < end + DRAIN_SECONDS:
            for fileno, _ in poll.poll(min(1.0, max(0.0, end + DRAIN_SECONDS - now))):
                connection = by_fileno[fileno]
                try:
                    answer = connection.receive()
                except (OSError, Disconnected):
                    sample.add(connection, time.monotonic(), BROKEN, b"")
                    del by_fileno[fileno]
                    connection.reopen()
                    by_fileno[connection.fileno()] = connection
                    poll.register(connection.fileno(), select.EPOLLIN)
                    answer = BROKEN, b""
                else:
                    if answer is None:
                        continue
                    received = time.monotonic()
                    sample.add(connection, received, source.judge(*answer), answer[1])
                following = None if connection.followed else source.follow(connection.number, *answer)
                if following is not None:
                    connection.send(connection.number, following, time.monotonic(), followed=1)
                elif time.monotonic() < end:
                    number, request = source.next()
                    connection.send(number, request, time.monotonic())
                else:
                    in_flight -= 1
        _give_up(sample, pool)
    poll.close()
    return sample


def open_loop(
    address: tuple[str, int], source: Source, *, connections: int, begin: float, seconds: float, rate: float
) -> Sample:
    """Sends at a fixed rate from `begin` on. A request that finds no free connection waits, and its wait counts."""
    idle = deque(Connection(address) for _ in range(connections))
    pool = list(idle)
    busy: list[Connection] = []
    waiting: deque[float] = deque()
    with _undisturbed():
        _sleep_until(begin)
        sample = Sample(began=begin, ended=begin + seconds)
        total = int(rate * seconds)
        due_count = 0
        while due_count < total or waiting or busy:
            now = time.monotonic()
            if now > sample.ended + DRAIN_SECONDS:
                break
            while due_count < total and (due := begin + due_count / rate) <= now:
                waiting.append(due)
                due_count += 1
            while waiting and idle:
                connection = idle.popleft()
                number, request = source.next()
                connection.send(number, request, waiting.popleft())
                busy.append(connection)
            pause = begin + due_count / rate - time.monotonic() if due_count < total else 1.0
            if waiting and not idle:
                pause = 1.0  # only an answer can help
            # select and not epoll: its timeout has microseconds, epoll's is rounded up to milliseconds.
            readable, _, _ = select.select(busy, (), (), max(0.0, pause))
            for connection in readable:
                try:
                    answer = connection.receive()
                except (OSError, Disconnected):
                    answer = BROKEN, b""
                if answer is None:
                    continue
                sample.add(connection, time.monotonic(), source.judge(*answer), answer[1])
                busy.remove(connection)
                if answer[0] == BROKEN:
                    connection.reopen()
                idle.append(connection)
        for due in waiting:
            _add_never_sent(sample, due)
        _give_up(sample, pool)
    return sample


def _add_never_sent(sample: Sample, due: float) -> None:
    """A request that was due and never got a connection: it must not vanish from the percentiles."""
    now = time.monotonic()
    sample.numbers.append(-1)
    sample.intended.append(due)
    sample.sent.append(now)
    sample.received.append(now)
    sample.statuses.append(BROKEN)
    sample.followed.append(0)


def _give_up(sample: Sample, pool: list[Connection]) -> None:
    for connection in pool:
        if connection.busy:
            sample.add(connection, time.monotonic(), BROKEN, b"")
        connection.close()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


class _undisturbed:
    """No garbage collection while time is measured."""

    def __enter__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()
        gc.unfreeze()
