"""Batches of payments: one JSON document, or a stream of lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from app.api.gate import NDJSON
from app.api.json_body import JsonBody, RequestObject, malformed
from app.api.parameters import DRY_RUN
from app.api.payment_schema import AcknowledgedPayment, NewPayment, requested
from app.api.payment_views import acknowledged, acknowledged_status
from app.api.request_refusals import batch_too_large, line_too_long, too_many_streams
from app.api.responses import (
    Answer,
    ProblemMembers,
    Refused,
    json_answer,
    problem,
    problem_members,
    refusal_of,
    status_of,
    unexpected,
)
from app.api.routes import Body, Call, Lines, Routes, Source
from app.domain.errors import Fault
from app.domain.payment import PaymentRequest
from app.domain.read_models import Durability
from app.domain.refusals import Refusal, without_funds
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import to_milliseconds
from app.services.access.api_keys import Scope
from app.services.payments.atomic_batches import RequestOrRefusal
from app.services.payments.batches import LARGEST_BATCH, STREAMS, Batches, Patience
from app.services.payments.outcomes import Outcome

BLOCK = 64 * 1024
"""Bytes read at once. A server may give nothing before so many have come, so no answer is due before either."""

LONGEST_LINE = 64 * 1024
"""Bytes: a payment with the largest metadata is a quarter of it."""

LINES_AT_ONCE = 500
"""Lines handed on together: enough that a round trip to the cache weighs little."""


@dataclass(slots=True)
class Line:
    """A line that is not blank, by its number from 1; `text` is None where it was too long and was passed over."""

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


routes = Routes()

LARGEST_BATCH_BODY = 16 * 1024 * 1024
"""Bytes: room for 5,000 payments with three kilobytes each; with more in each, send fewer or a stream."""


class NewBatch(RequestObject):
    """Payments to make, in order, up to 5,000.

    `atomic`: all or none, which needs all guarded accounts in one partition. If one fails nothing is written, not even
    a refusal, so the same batch may be sent again; the failed payment answers with its own code, the others with
    `linked_payment_failed`, and `failed_index` (from 0) names it. The ledger too posts all or rejects all.

    While the ledger is behind, a large batch waits up to 5 s before it is decided. Nothing is moved until then.
    """

    payments: Annotated[list[NewPayment], Meta(min_length=1, max_length=LARGEST_BATCH)]
    atomic: bool = False


class BatchItem(Struct, omit_defaults=True):
    """One payment's answer: the status it would have got alone, and the payment or the problem."""

    status: int
    replayed: bool
    payment: AcknowledgedPayment | None = None
    problem: ProblemMembers | None = None


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


class _Outline(RequestObject):
    """A batch whose payments are decoded one by one, so that a malformed one does not spoil the others."""

    payments: list[Raw]
    atomic: bool = False


_payment = JsonBody(NewPayment)
_encode_lines = msgspec.json.Encoder().encode_lines


@routes.add(
    "POST",
    "/v1/payments/batch",
    f"Make up to {LARGEST_BATCH:,} payments, answered one by one; as NDJSON any number, streamed both ways",
    scope=Scope.PAYMENTS_WRITE,
    body=Body(NewBatch, read_as=_Outline, largest=LARGEST_BATCH_BODY),
    answers={200: BatchBody},
    parameters=(DRY_RUN,),
    lines=Lines(NewPayment, BatchLine),
    refuses=frozenset({Code.BATCH_TOO_LARGE, Code.TOO_MANY_STREAMS}),
)
def submit_batch(call: Call[_Outline]) -> Answer:
    """Decide many payments, each as if sent alone, or all or none."""
    if call.stream is not None:
        return _stream(call, call.stream)
    outline, dry_run, batches = call.body, call[DRY_RUN], call.here.batches
    if not outline.payments:
        raise malformed("A batch needs at least one payment.", field="payments")
    if len(outline.payments) > LARGEST_BATCH:
        raise Refused(batch_too_large(len(outline.payments), LARGEST_BATCH, NDJSON))
    now = call.here.now()
    wanted = [_wanted(payment, now, call.entities) for payment in outline.payments]
    if outline.atomic:
        outcomes: Sequence[Outcome] = batches.submit_atomically(wanted, call.actor, dry_run=dry_run)
    else:
        requests = [one for one in wanted if isinstance(one, PaymentRequest)]
        outcomes = _in_place(wanted, batches.submit(requests, call.actor, dry_run=dry_run))
    durability = call.here.readiness.durability()
    now_ms = to_milliseconds(now)
    items = [BatchItem(*_answer(outcome, durability, now_ms, may_read=call.may_read)) for outcome in outcomes]
    return json_answer(BatchBody(items))


def _wanted(raw: bytes | Raw, now: datetime, entities: frozenset[str] | None) -> RequestOrRefusal:
    """One payment of a batch, or the refusal of what cannot be read as one."""
    try:
        body = _payment.decode(bytes(raw))
        return requested(body, body.expected_version, now, entities)
    except Refused as refused:
        return refused.refusal


def _in_place(wanted: Sequence[RequestOrRefusal], decided: Sequence[Any]) -> list[Any]:
    """What was decided, and the refusals of what could not be read, each in its place."""
    outcomes = iter(decided)
    return [one if isinstance(one, Refusal) else next(outcomes) for one in wanted]


def _answer(
    outcome: Outcome | Fault, durability: Durability, now_ms: int, *, may_read: bool
) -> tuple[int, bool, AcknowledgedPayment | None, dict[str, Any] | None]:
    """Status, whether it is a replay, and the payment or the problem."""
    if isinstance(outcome, Fault):
        outcome = refusal_of(outcome)
    if isinstance(outcome, Refusal):
        shown = outcome if may_read else without_funds(outcome)
        return status_of(outcome.code), outcome.replayed, None, problem_members(shown)
    payment = acknowledged(outcome, durability, now_ms, may_read=may_read)
    return acknowledged_status(outcome), outcome.replayed, payment, None


# Streams


def _stream(call: Call[Any], source: Source) -> Answer:
    """Answer a stream of lines while it arrives."""
    if call[DRY_RUN]:
        raise malformed(
            "A stream has no dry run: later lines would not see what earlier ones leave. Send batches.",
            field="dry_run",
        )
    if not call.here.batches.streams.acquire(blocking=False):
        return problem(too_many_streams(STREAMS))
    return Answer(200, _Stream(call, source), [("content-type", NDJSON)])


class _Stream(Iterator[bytes]):
    """The answers to one stream of payments, some lines at a time, as these arrive. Their sender closes it."""

    def __init__(self, call: Call[Any], source: Source) -> None:
        self._batches: Batches = call.here.batches
        self._actor = call.actor
        self._may_read = call.may_read
        self._entities = call.entities
        self._durability = call.here.readiness.durability()
        self._now = call.here.now
        self._patience = Patience()
        self._lines = line_groups(source)
        self._is_open = True

    def __next__(self) -> bytes:
        """The answers to the next lines."""
        return self._answer(next(self._lines))

    def close(self) -> None:
        """Give the stream's place back."""
        if self._is_open:
            self._is_open = False
            self._batches.streams.release()

    def _answer(self, lines: Sequence[Line]) -> bytes:
        try:
            outcomes = self._decide(lines)
        except Exception as error:  # the answer has begun, so nobody else can turn this into one
            outcomes = [unexpected(error)] * len(lines)
        now_ms = to_milliseconds(self._now())
        return _encode_lines(
            BatchLine(*_answer(outcome, self._durability, now_ms, may_read=self._may_read), line.number)
            for line, outcome in zip(lines, outcomes, strict=True)
        )

    def _decide(self, lines: Sequence[Line]) -> list[Outcome | Fault]:
        now = self._now()
        wanted = [_wanted_line(line, now, self._entities) for line in lines]
        requests = [one for one in wanted if isinstance(one, PaymentRequest)]
        return _in_place(wanted, self._batches.submit_patiently(requests, self._actor, self._patience))


def _wanted_line(line: Line, now: datetime, entities: frozenset[str] | None) -> RequestOrRefusal:
    if line.text is None:
        return line_too_long(LONGEST_LINE)
    return _wanted(line.text, now, entities)
