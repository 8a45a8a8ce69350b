"""Batches of payments: one JSON document, or a stream of lines that is answered while it comes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
from flask import Blueprint, Response, request
from msgspec import Raw, Struct

from app.api.auth import actor, operation
from app.api.context import services
from app.api.openapi import NDJSON
from app.api.payment_schema import AcknowledgedPayment, NewPayment, requested
from app.api.payment_views import acknowledged, acknowledged_status
from app.api.payments import new_payment
from app.api.request_refusals import batch_too_large, line_too_long, too_many_streams
from app.api.requests import NUL, Body, is_dry_run, malformed, raw_body, refuse_encoding
from app.api.responses import Refused, json_response, problem, problem_members, refusal_of, status_of, unexpected
from app.domain.errors import Fault
from app.domain.payment import PaymentRequest
from app.domain.refusals import Refusal
from app.services.access.api_keys import Scope
from app.services.payments.batches import LARGEST_BATCH, STREAMS, Batches, Patience
from app.services.payments.outcomes import Outcome

BLOCK = 64 * 1024
"""Bytes read at once. A server may hand over nothing until it has that many, so no line is answered earlier."""

LONGEST_LINE = 64 * 1024
"""Bytes: a payment with the largest metadata is a quarter of it."""

LINES_AT_ONCE = 500
"""Lines decided together: enough that one round trip to the cache costs little per line."""


class Source(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Line:
    """A line that is not blank, by its number from 1; `text` is None if it was too long and was skipped."""

    number: int
    text: bytes | None


def line_groups(source: Source) -> Iterator[list[Line]]:
    """The lines of a source as they come, up to LINES_AT_ONCE together, and never more than a block ahead."""
    number, rest, is_too_long = 1, b"", False
    while block := source.read(BLOCK):
        first, *further = block.split(b"\n")
        rest += b"" if is_too_long else first
        is_too_long = is_too_long or len(rest) > LONGEST_LINE
        if not further:
            rest = b"" if is_too_long else rest
            continue
        complete = [Line(number, None if is_too_long else rest)]
        complete += [Line(number + n, text) for n, text in enumerate(further[:-1], start=1)]
        number, rest, is_too_long = number + len(further), further[-1], False
        yield from _groups(complete)
    yield from _groups([Line(number, None if is_too_long else rest)])


def _groups(lines: list[Line]) -> Iterator[list[Line]]:
    written = [line for line in lines if line.text is None or (line.text and not line.text.isspace())]
    for start in range(0, len(written), LINES_AT_ONCE):
        yield written[start : start + LINES_AT_ONCE]


blueprint = Blueprint("batches", __name__)

LARGEST_BATCH_BODY = 16 * 1024 * 1024
"""Bytes: room for 5,000 payments of three kilobytes; send fewer or a stream if they are larger."""


class NewBatch(Struct, forbid_unknown_fields=True):
    """Payments to make, in order, up to 5,000.

    `atomic`: all or none, which needs all guarded accounts in one partition. If one fails nothing is written, not even
    a refusal, so the same batch may be sent again; the failed payment answers with its own code, the others with
    `linked_payment_failed`, and `failed_index` (from 0) names it. The ledger too posts all or rejects all.

    While the ledger is behind, a large batch waits up to 5 s before it is decided. Nothing is moved until then.
    """

    payments: list[NewPayment]
    atomic: bool = False


class BatchItem(Struct, omit_defaults=True):
    """One payment's answer: the status it would have got alone, and the payment or the problem."""

    status: int
    replayed: bool
    payment: AcknowledgedPayment | None = None
    problem: dict[str, Any] | None = None


class BatchLine(BatchItem, omit_defaults=True):
    """The answer to one line of a stream (`application/x-ndjson`: one payment a line), by its number from 1.

    Blank lines have no answer. Answers come while lines are sent, some hundred at a time: read while you send, and do
    not wait for an answer before 64 KiB more are sent or the stream has ended. While the ledger is behind, or the cache
    does not answer, the stream waits, up to 30 s without progress; then what is left answers 503. After a break send
    the same lines again: what was done is answered as a replay.

    A stream has no `atomic` and no dry run: its lines are decided some hundred at a time, and in a dry run the later
    ones would not see the earlier ones. Rehearse them as batches.
    """

    line: int = 0


class BatchBody(Struct):
    """The answers, in the order of the payments."""

    data: list[BatchItem]


class _Outline(Struct, forbid_unknown_fields=True):
    """A batch whose payments are decoded one by one, so that a malformed one does not fail the others."""

    payments: list[Raw]
    atomic: bool = False


_outline = Body(_Outline)
_encode_lines = msgspec.json.Encoder().encode_lines

RequestOrRefusal = PaymentRequest | Refusal
"""A payment to make, or why it could not be read."""


@blueprint.post("/v1/payments/batch")
@operation(
    f"Make up to {LARGEST_BATCH:,} payments, answered one by one; as NDJSON any number, streamed both ways",
    scope=Scope.PAYMENTS_WRITE,
    body=NewBatch,
    answers={200: BatchBody},
    parameters=("dry_run",),
    lines=(NewPayment, BatchLine),
)
def submit_batch() -> Response:
    """Decide many payments, each as if sent alone, or all or none."""
    dry_run = is_dry_run()
    if "If-Match" in request.headers:
        raise malformed("If-Match is for one payment; give each its expected_version.", field="If-Match")
    if request.mimetype == NDJSON:
        return _stream(dry_run)
    request.max_content_length = LARGEST_BATCH_BODY
    raw = raw_body()
    outline = _outline.decode_clean(raw)
    if not outline.payments:
        raise malformed("A batch needs at least one payment.", field="payments")
    if len(outline.payments) > LARGEST_BATCH:
        raise Refused(batch_too_large(len(outline.payments), LARGEST_BATCH, NDJSON))
    now, may_hold_nul = services().now(), NUL in raw
    wanted = [_wanted(payment, now, may_hold_nul=may_hold_nul) for payment in outline.payments]
    if outline.atomic:
        outcomes: Sequence[Outcome] = services().batches.submit_atomically(wanted, actor(), dry_run=dry_run)
    else:
        outcomes = _each(wanted, actor(), dry_run=dry_run)
    durability = services().readiness.durability()
    return json_response(BatchBody([BatchItem(*_answer(outcome, durability)) for outcome in outcomes]))


def _wanted(raw: bytes | Raw, now: datetime, *, may_hold_nul: bool) -> RequestOrRefusal:
    """One payment of a batch, or the refusal of one that cannot be read."""
    try:
        body = new_payment.decode(bytes(raw)) if may_hold_nul else new_payment.decode_clean(raw)
        return requested(body, body.expected_version, now)
    except Refused as refused:
        return refused.refusal


def _each(wanted: Sequence[RequestOrRefusal], actor: str, *, dry_run: bool) -> list[Outcome]:
    """Decide the payments that could be read; the others answer with their refusals. In the order of `wanted`."""
    requests = [one for one in wanted if isinstance(one, PaymentRequest)]
    outcomes = iter(services().batches.submit(requests, actor, dry_run=dry_run))
    return [one if isinstance(one, Refusal) else next(outcomes) for one in wanted]


def _answer(
    outcome: Outcome | Fault, durability: str
) -> tuple[int, bool, AcknowledgedPayment | None, dict[str, Any] | None]:
    """The status, whether it is a replay, and the payment or the problem."""
    if isinstance(outcome, Fault):
        outcome = refusal_of(outcome)
    if isinstance(outcome, Refusal):
        return status_of(outcome.code), outcome.replayed, None, problem_members(outcome)
    return acknowledged_status(outcome), outcome.replayed, acknowledged(outcome, durability), None


# Streams


def _stream(dry_run: bool) -> Response:
    """Answer a stream of lines while it arrives."""
    if dry_run:
        raise malformed(
            "A stream has no dry run: later lines would not see what earlier ones leave. Send batches.",
            field="dry_run",
        )
    refuse_encoding()
    slots = services().batches.streams
    if not slots.acquire(blocking=False):
        return problem(too_many_streams(STREAMS))
    request.max_content_length = (
        sys.maxsize
    )  # lines are bounded, their number is not; None would mean the default limit
    stream = _Stream(services().batches, actor(), services().readiness.durability(), services().now)
    response = Response(stream.answers(request.stream), content_type=NDJSON)
    response.call_on_close(slots.release)
    return response


class _Stream:
    """One stream of payments. It outlives the request's context, so it takes what it needs with it."""

    def __init__(self, batches: Batches, actor: str, durability: str, now: Callable[[], datetime]) -> None:
        self._batches = batches
        self._actor = actor
        self._durability = durability
        self._now = now
        self._patience = Patience()

    def answers(self, source: Source) -> Iterator[bytes]:
        """The answers to the lines of a source, some at a time, as they arrive."""
        for lines in line_groups(source):
            yield self._answer(lines)

    def _answer(self, lines: Sequence[Line]) -> bytes:
        try:
            outcomes = self._decide(lines)
        except Exception as error:  # the response has begun, so no error handler can answer
            outcomes = [unexpected(error)] * len(lines)
        return _encode_lines(
            BatchLine(*_answer(outcome, self._durability), line.number)
            for line, outcome in zip(lines, outcomes, strict=True)
        )

    def _decide(self, lines: Sequence[Line]) -> list[Outcome | Fault]:
        now = self._now()
        wanted = [_wanted_line(line, now) for line in lines]
        requests = [one for one in wanted if isinstance(one, PaymentRequest)]
        outcomes = iter(self._batches.submit_patiently(requests, self._actor, self._patience))
        return [one if isinstance(one, Refusal) else next(outcomes) for one in wanted]


def _wanted_line(line: Line, now: datetime) -> RequestOrRefusal:
    if line.text is None:
        return line_too_long(LONGEST_LINE)
    return _wanted(line.text, now, may_hold_nul=NUL in line.text)
