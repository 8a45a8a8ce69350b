"""Events over HTTP: pages with a long poll, and server-sent events."""

from collections.abc import Callable, Generator, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from app.api.entity_binding import visible_account
from app.api.fields import Moment, number_of, one_of
from app.api.json_body import malformed
from app.api.parameters import ACCOUNT, LIMIT
from app.api.request_refusals import invalid_cursor, too_many_streams
from app.api.responses import Answer, Refused, json_answer, problem
from app.api.routes import Call, Header, Parameter, Routes, Text
from app.domain.errors import Fault
from app.domain.events import BEGINNING, CURSOR_PATTERN, Cursor, Event, EventType, Wanted, parse_cursor
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.services.access.api_keys import Scope
from app.services.events.feed import READERS, CursorAhead, Feed

routes = Routes()

EVENT_STREAM = "text/event-stream"
LONGEST_WAIT_S = 30

HEARTBEAT_S = 10.0
"""How often a stream without events says that it lives, and looks whether its key does."""

STREAMED_AT_ONCE = 500

EVENT_TYPES = [one.value for one in EventType]
_END = "end"
CURSOR_SCHEMA = {"type": "string", "pattern": f"({CURSOR_PATTERN})|^{_END}$"}


class EventBody(Struct):
    """An event as CloudEvents 1.0 has it. `id` never changes: who meets one again has had it.

    `sequence` is its cursor. `data` has the `version` of what `subject` names, which grows with each event of it, and
    all that the event tells; amounts in minor units.
    """

    specversion: str
    id: str
    source: str
    type: Annotated[str, one_of(EVENT_TYPES)]
    subject: str
    time: Moment
    datacontenttype: str
    sequence: str
    data: dict[str, Any]


class EventPageBody(Struct):
    """Events in order. `next` is the cursor to go on with, also where there are none.

    `is_end`: there was nothing after them. A page may be empty before the end, if few of the events are wanted.
    """

    data: list[EventBody]
    next: str
    is_end: bool


def cursor_of(name: str, known_as: str | None = None) -> Callable[[str], Cursor | None]:
    """Reads a cursor; None for the end."""

    def read(text: str) -> Cursor | None:
        if text == _END:
            return None
        found = parse_cursor(text)
        if found is None:
            rule = f"be a cursor from `next` or `sequence`, or {_END}"
            raise Refused(invalid_cursor(name, rule, known_as=known_as))
        return found

    return read


def _types(text: str) -> frozenset[EventType]:
    try:
        return frozenset(EventType(one) for one in text.split(","))
    except ValueError:
        raise malformed(f"types must be some of {', '.join(EVENT_TYPES)}, with commas.", field="types") from None


def _wait_s(text: str) -> float:
    found = number_of(text, 2)
    if found is None or found > LONGEST_WAIT_S:
        raise malformed(f"wait must be a number of seconds up to {LONGEST_WAIT_S}.", field="wait")
    return float(found)


_ONE_TYPE = f"({'|'.join(one.replace('.', '[.]') for one in EVENT_TYPES)})"
_TYPES_PATTERN = f"^{_ONE_TYPE}(,{_ONE_TYPE})*$"
_REFUSES = (Code.INVALID_CURSOR,)
AFTER: Parameter[Cursor | None] = Parameter(
    "after",
    cursor_of("after"),
    BEGINNING,
    CURSOR_SCHEMA,
    "The cursor from `next`, or the `sequence` of an event; without it, the first event. "
    f"`{_END}` is after all that is committed now.",
    refuses=_REFUSES,
)
TYPES: Parameter[frozenset[EventType] | None] = Parameter(
    "types",
    _types,
    None,
    {"type": "string", "pattern": _TYPES_PATTERN},
    f"Only these, with commas: {', '.join(EVENT_TYPES)}.",
)
WAIT: Parameter[float] = Parameter(
    "wait",
    _wait_s,
    0.0,
    {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_S, "default": 0},
    "Seconds to wait for an event where there is none.",
)
_EITHER = "after (Last-Event-ID)"
"""Clients send as Last-Event-ID what their callers give as `after`."""
LAST_EVENT_ID: Header[Cursor | None] = Header(
    "Last-Event-ID",
    cursor_of("Last-Event-ID", _EITHER),
    None,
    "The id of the last event received: the stream goes on after it.",
)


@routes.add(
    "GET",
    "/v1/events",
    "Read events in order, and wait for new ones",
    scope=Scope.EVENTS_READ,
    answers={200: EventPageBody},
    parameters=(AFTER, TYPES, ACCOUNT, WAIT, LIMIT),
    refuses=frozenset(_REFUSES),
    keeps_answer=False,
)
def list_events(call: Call[None]) -> Answer:
    """One page of events. If too many wait already, this one answers at once."""
    feed = call.here.feed
    may_wait = call[WAIT] > 0 and feed.enter()
    try:
        wait_s = call[WAIT] if may_wait else 0.0
        found = feed.page(call[AFTER] or feed.end(), call[LIMIT], _wanted(call), wait_s)
    except CursorAhead:
        raise Refused(_ahead("after")) from None
    finally:
        if may_wait:
            feed.leave()
    return json_answer(
        {"data": [one.document() for one in found.events], "next": str(found.cursor), "is_end": found.is_end}
    )


@routes.add(
    "GET",
    "/v1/events/stream",
    "Follow events as server-sent events; without a cursor, from now on",
    scope=Scope.EVENTS_READ,
    answers={200: Text(EVENT_STREAM)},
    parameters=(AFTER, TYPES, ACCOUNT),
    headers=(LAST_EVENT_ID,),
    refuses=frozenset({*_REFUSES, Code.TOO_MANY_STREAMS}),
    keeps_answer=False,
    is_stream=True,
)
def stream_events(call: Call[None]) -> Answer:
    """A stream that goes on after Last-Event-ID, else after `after`, else from now on."""
    feed = call.here.feed
    after = call[LAST_EVENT_ID] or (call[AFTER] if call.has(AFTER) else None) or feed.end()
    if after.position > feed.end().position:
        raise Refused(_ahead(LAST_EVENT_ID.name, _EITHER) if call.has(LAST_EVENT_ID) else _ahead(AFTER.name))
    if not feed.enter():
        return problem(too_many_streams(READERS))
    # A proxy that gathers what it passes on would keep events back.
    headers = [("content-type", EVENT_STREAM), ("x-accel-buffering", "no")]
    return Answer(200, _Stream(feed, _pieces(call, after, _wanted(call))), headers)


class _Stream:
    """The pieces of a stream. It ends with its client, its key or its process, and where a server is not there."""

    def __init__(self, feed: Feed, pieces: Generator[bytes]) -> None:
        self._feed = feed
        self._pieces = pieces
        self._has_place = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Give the place back."""
        self._pieces.close()
        if self._has_place:
            self._has_place = False
            self._feed.leave()


def _pieces(call: Call[None], after: Cursor, wanted: Wanted) -> Generator[bytes]:
    feed = call.here.feed
    yield b"retry: 1000\n\n"
    while not feed.is_stopped and _is_valid(call):
        try:
            found = feed.page(after, STREAMED_AT_ONCE, wanted, HEARTBEAT_S)
        except (Fault, CursorAhead):
            return
        after = found.cursor
        # An id alone is no event: it only has the client go on from there.
        yield b"".join(map(_sent, found.events)) if found.events else f"id: {after}\n: nothing yet\n\n".encode()


def _is_valid(call: Call[None]) -> bool:
    try:
        return call.here.gatekeeper.caller(call.key) is not None
    except Fault:
        return False


_encode = msgspec.json.Encoder().encode


def _sent(event: Event) -> bytes:
    head = f"id: {event.cursor}\nevent: {event.type.value}\ndata: "
    return head.encode() + _encode(event.document()) + b"\n\n"


def _wanted(call: Call[None]) -> Wanted:
    return Wanted(call[TYPES], visible_account(call, call[ACCOUNT]), call.entities)


def _ahead(name: str, known_as: str | None = None) -> Refusal:
    return invalid_cursor(name, "name an event of this ledger, and this one has not happened here", known_as=known_as)
