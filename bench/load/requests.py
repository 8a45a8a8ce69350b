"""What is sent: HTTP requests as bytes, rendered by a template so that the generator costs little.

A source hands out `(number, request)`; `follow` may answer a response with one more request on the same connection.
"""

import json
from dataclasses import dataclass, field
from typing import Protocol

from bench.load.workload import Workload, account_id

CURRENCY = "EUR"
PARTLY = 207
"""The status under which a batch counts whose answers are not all 201."""


class Source(Protocol):
    """An endless supply of requests for one load process."""

    def next(self) -> tuple[int, bytes]:
        """The next request and its number."""

    def judge(self, status: int, body: bytes) -> int:
        """The status that counts: a 200 over a list may hide refusals."""

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:
        """The request that this response asks for, if any."""


def rendered(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def external_id(run: str, worker: int, number: int) -> str:
    """The id of one payment; it tells the auditor which movement was meant. Of fixed length within a run."""
    return f"{run}-{worker:02d}-{number:08d}"


def parsed_external_id(text: str) -> tuple[int, int]:
    """Worker and number of an external id."""
    _, worker, number = text.rsplit("-", 2)
    return int(worker), int(number)


@dataclass
class PaymentSource:
    """Single payments."""

    path: str
    headers: dict[str, str]
    run: str
    workload: Workload
    worker: int = 0
    extra: dict[str, object] = field(default_factory=dict)
    _number: int = 0

    def next(self) -> tuple[int, bytes]:
        """One payment under a new external_id."""
        number = self._number
        self._number += 1
        return number, rendered("POST", self.path, self.headers, json.dumps(self.document(number)).encode())

    def document(self, number: int) -> dict[str, object]:
        """The payment with this number."""
        movement = self.workload.movement(self.worker, number)
        return {
            "external_id": external_id(self.run, self.worker, number),
            "source_account_id": account_id(movement.source),
            "destination_account_id": account_id(movement.destination),
            "amount_minor": movement.amount_minor,
            "currency_code": CURRENCY,
            **self.extra,
        }

    def judge(self, status: int, body: bytes) -> int:  # noqa: ARG002 - of the protocol
        """One payment, one status."""
        return status

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:  # noqa: ARG002 - of the protocol
        """A payment is one request."""
        return None


@dataclass
class AuthorizationSource(PaymentSource):
    """Authorizations, each captured as soon as it is acknowledged."""

    def __post_init__(self) -> None:
        """Says what makes a payment an authorization."""
        self.extra = {"capture": "manual"}

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:  # noqa: ARG002 - of the protocol
        """The capture in full of what was authorized just now."""
        if status != 201:
            return None
        path = f"{self.path}/{json.loads(body)['payment_id']}/capture"
        return rendered("POST", path, self.headers, b"{}")


@dataclass
class BalanceSource:
    """Reads of balances."""

    path: str
    headers: dict[str, str]
    workload: Workload
    worker: int = 0
    _number: int = 0

    def next(self) -> tuple[int, bytes]:
        """One balance."""
        number = self._number
        self._number += 1
        account = account_id(self.workload.movement(self.worker, number).source)
        return number, rendered("GET", self.path.format(account_id=account), self.headers)

    def judge(self, status: int, body: bytes) -> int:  # noqa: ARG002 - of the protocol
        """One payment, one status."""
        return status

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:  # noqa: ARG002 - of the protocol
        """A read is one request."""
        return None


@dataclass
class BatchSource:
    """Batches of payments, as one JSON document or as lines.

    All batches have the same content under other external ids: only a marker of fixed length is replaced, so that
    rendering a megabyte costs less than sending it.
    """

    path: str
    headers: dict[str, str]
    run: str
    workload: Workload
    size: int
    lines: bool
    worker: int = 0
    _number: int = 0
    _template: bytes = b""

    MARKER = b"batch@@@@@@@@"
    ACCEPTED = b'"status":201'

    def next(self) -> tuple[int, bytes]:
        """One batch."""
        number = self._number
        self._number += 1
        self._template = self._template or self._rendered()
        return number, self._template.replace(self.MARKER, b"batch%08d" % number)

    def follow(self, number: int, status: int, body: bytes) -> bytes | None:  # noqa: ARG002 - of the protocol
        """A batch is one request."""
        return None

    def judge(self, status: int, body: bytes) -> int:
        """Good only if every payment in it is."""
        return PARTLY if status in (200, 201) and body.count(self.ACCEPTED) != self.size else status

    def _rendered(self) -> bytes:
        run = f"{self.run}-{self.MARKER.decode()}"
        payments = [
            json.dumps(PaymentSource("", {}, run, self.workload, self.worker).document(number), separators=(",", ":"))
            for number in range(self.size)
        ]
        kind = "application/x-ndjson" if self.lines else "application/json"
        body = "\n".join(payments) + "\n" if self.lines else '{"payments":[' + ",".join(payments) + "]}"
        return rendered("POST", self.path, {**self.headers, "Content-Type": kind}, body.encode())
