"""A receiver of webhooks on this machine, which answers as a test tells it."""

import json
import ssl
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

Answer = Callable[["Receiver", dict[str, Any]], int]
"""Decides the status of an answer by the event; may take its time."""


HANGS_UP = 900
"""In place of a status: the connection is closed without an answer."""


def takes_all(_: "Receiver", __: dict[str, Any]) -> int:
    return 204


@dataclass
class Receiver:
    """What has arrived, in order, with the statuses that were answered."""

    port: int = 0
    origin: str = "http://127.0.0.1"
    answer: Answer = takes_all
    retry_after: str = ""
    secrets: list[str] = field(default_factory=list)
    arrived: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.origin}:{self.port}/hook"

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The events that it took, with repeats."""
        with self.lock:
            return [event for event, status in self.arrived if status < 300]

    def ids(self) -> list[str]:
        """The ids of the events that it took, each where it was taken first."""
        return list(dict.fromkeys(event["id"] for event in self.taken))

    def by_account(self) -> dict[str, list[str]]:
        """For each account the events about it that were taken, each where it was taken first."""
        found: dict[str, list[str]] = defaultdict(list)
        for event in self.taken:
            for account_id in accounts_of(event):
                if event["id"] not in found[account_id]:
                    found[account_id].append(event["id"])
        return found

    def take(self, headers: Any, body: bytes) -> int:
        """Verify and note a message; returns the status to answer."""
        event = json.loads(body)
        is_forged = bool(self.secrets) and not any(_verifies(secret, headers, body) for secret in self.secrets)
        status = self.answer(self, event)
        with self.lock:
            self.note(event, status, is_forged=is_forged)
        return status

    def note(self, event: dict[str, Any], status: int, *, is_forged: bool) -> None:
        """Remember a message; one at a time."""
        if is_forged:
            self.forged.append(event["id"])
        self.arrived.append((event, status))


def accounts_of(event: dict[str, Any]) -> list[str]:
    """The accounts that an event is about."""
    data = event["data"]
    named = [leg["account_id"] for leg in data.get("entries", ())]
    return list(dict.fromkeys([*named, *([data["account_id"]] if "account_id" in data else [])]))


def _verifies(secret: str, headers: Any, body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers))
    except Exception:
        return False
    return True


class Server(ThreadingHTTPServer):
    """A thread for each connection; on a busy machine many may wait to be accepted."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments: Any) -> None:
        """Say what went wrong, unless the deliverer was killed meanwhile."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*arguments)


@contextmanager
def receiving(port: int = 0, tls: ssl.SSLContext | None = None, receiver: Receiver | None = None) -> Iterator[Receiver]:
    """A receiver for as long as the test needs it; with `tls` it takes https only."""
    receiver = receiver or Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the deliverer was killed meanwhile
                return
            status = receiver.take(self.headers, body)
            if status == HANGS_UP:
                self.close_connection = True
                return
            answer = b"" if status == 204 else b"not now"
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if receiver.retry_after:
                self.send_header("Retry-After", receiver.retry_after)
            self.end_headers()
            with suppress(OSError):  # as above
                self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
