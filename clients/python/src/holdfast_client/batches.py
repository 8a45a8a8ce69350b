"""Payments by the thousand: sent as NDJSON in groups, and each answered by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from holdfast_client.codec import plain, read
from holdfast_client.errors import HoldfastError
from holdfast_client.exchange import (
    Answer,
    Policy,
    Request,
    Steps,
    error_of_problem,
    exchange,
    may_repeat,
    pause_before,
)
from holdfast_client.models import AcknowledgedPayment, BatchLine, NewPayment

NDJSON = {"Content-Type": "application/x-ndjson"}

LARGEST_GROUP = 60_000
"""Bytes of one request. HTTP/1.1 clients send all before they read, and the server promises no more than 64 KiB ahead
of its answers: a larger request could leave both waiting for the other to read."""

TRIES = 8
"""How often what the server could not take yet is sent again; the pauses between grow to seconds."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of one payment of a stream: the payment as acknowledged, or the error that it would raise alone."""

    asked: NewPayment
    replayed: bool
    payment: AcknowledgedPayment | None
    error: HoldfastError | None


@dataclass(frozen=True, slots=True)
class Line:
    """A payment, and its text."""

    asked: NewPayment
    text: bytes


def line_of(payment: NewPayment) -> Line:
    """A payment as a line."""
    return Line(payment, json.dumps(plain(payment), ensure_ascii=False, allow_nan=False).encode() + b"\n")


def groups(payments: Iterable[NewPayment]) -> Iterator[list[Line]]:
    """Payments in groups that one request carries."""
    group = Group()
    for payment in payments:
        if full := group.add(line_of(payment)):
            yield full
    if group.lines:
        yield group.lines


async def groups_as_they_come(
    payments: AsyncIterable[NewPayment] | Iterable[NewPayment],
) -> AsyncIterator[list[Line]]:
    """The same for an asynchronous source."""
    if not isinstance(payments, AsyncIterable):
        for full in groups(payments):
            yield full
        return
    group = Group()
    async for payment in payments:
        if full := group.add(line_of(payment)):
            yield full
    if group.lines:
        yield group.lines


class Group:
    """Lines that gather until no more fit."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._size = 0

    def add(self, line: Line) -> list[Line]:
        """Add a line; returns the lines before it if it does not fit with them."""
        full: list[Line] = []
        if self.lines and self._size + len(line.text) > LARGEST_GROUP:
            full, self.lines, self._size = self.lines, [], 0
        self.lines.append(line)
        self._size += len(line.text)
        return full


def decided(lines: list[Line], policy: Policy) -> Steps[list[Decided]]:
    """Have a group decided. What a server could not take yet is sent again, as often as it makes sense."""
    found: dict[int, Decided] = {}
    waiting = list(range(len(lines)))
    for attempt in range(TRIES):
        request = _request([lines[number] for number in waiting])
        answers = yield from exchange(request, policy)
        found |= {number: _decided(lines[number], one) for number, one in zip(waiting, answers, strict=True)}
        waiting = [number for number in waiting if _may_be_sent_again(found[number], request)]
        if not waiting:
            break
        yield pause_before(attempt + 1)
    return [found[number] for number in range(len(lines))]


def _may_be_sent_again(one: Decided, request: Request[list[BatchLine]]) -> bool:
    return one.error is not None and may_repeat(one.error, request)


def _request(lines: list[Line]) -> Request[list[BatchLine]]:
    def answers(answer: Answer) -> list[BatchLine]:
        found = [read(BatchLine, json.loads(line)) for line in answer.content.splitlines() if line.strip()]
        if len(found) != len(lines):
            raise ValueError(f"{len(lines)} payments have {len(found)} answers")
        return sorted(found, key=lambda one: one.line or 0)

    content = b"".join(line.text for line in lines)
    return Request("POST", "/v1/payments/batch", answers, headers=NDJSON, content=content)


def _decided(line: Line, answer: BatchLine) -> Decided:
    error = None if answer.problem is None else error_of_problem(answer.problem)
    if error is not None:
        error.external_id = line.asked.external_id
    return Decided(line.asked, answer.replayed, answer.payment, error)
