"""Where what is done comes from: the call that is being answered in this thread, or the command that is being run.

The log names its request id, and every change is recorded with it. It is a context variable because no decision depends
on it: no function between the API and a log line, or a record, has to pass it on. A payment takes it along in its
intent, as a text, because another process posts it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

LARGEST_BODY = 8 * 1024
"""Bytes of a request or an answer that the audit keeps."""


@dataclass(slots=True)
class Origin:
    """One call of the API, as far as it is known: first its head, then its route and its key, then its body.

    Of a command, `path` is the command line, and there is no method.
    """

    request_id: str
    received_at_ms: int = 0
    """Milliseconds since 1970 UTC."""
    began_ns: int = 0
    """When it arrived, in nanoseconds of the process's own steady clock; 0 where that is not known."""
    ip: str | None = None
    method: str | None = None
    path: str | None = None
    route: str | None = None
    """The path as declared: `/accounts/{account_id}`. None before it is known, and where there is none."""
    key_id: str | None = None
    actor: str | None = None
    """Who asks, where it is a person and no API key."""
    status: int | None = None
    """What the route answers when it has changed something."""
    account_id: str | None = None
    payment_id: str | None = None
    external_id: str | None = None
    """What it names, in its path or body: by these it can be found."""
    request: bytes = b""
    """The body, as far as the audit keeps it."""
    request_bytes: int = 0
    is_recorded: bool = False
    """Whether this call's record is written, or on its way, with what it changed."""
    has_change: bool = False
    """Whether something was changed on its behalf; the change may still be rolled back."""
    travelling: str | None = None
    span: object | None = None
    """Its span, where this process traces."""
    traceparent: str | None = None
    """The span as the header of that name tells it, where the trace is kept."""

    def as_text(self) -> str:
        """What an intent takes along; `parse_origin` reads it."""
        if self.travelling is None:
            operation = f"{self.method or ''} {self.route or ''}"
            trace = "" if self.traceparent is None else f"|{self.traceparent}"
            self.travelling = f"{self.received_at_ms}|{self.ip or ''}|{self.request_id}|{operation}{trace}"
        return self.travelling


def parse_origin(text: str) -> tuple[int, str, str, str]:
    """Received at (ms since 1970), IP address, request id, and `METHOD route`; the empty text for what is not known."""
    received_at_ms, ip, request_id, operation = text.split("|", 4)[:4]  # in none of them
    return int(received_at_ms), ip, request_id, operation


def request_id_of(text: str) -> str:
    """The request id in what an intent took along."""
    return text.split("|", 3)[2]


def traceparent_of(text: str) -> str | None:
    """The span of the call, in what its intent took along; None where it is not traced."""
    parts = text.split("|", 4)
    return parts[4] if len(parts) > 4 else None


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current_origin() -> Origin | None:
    """The call that is being answered here, or the command that is being run; None where there is neither."""
    return _current.get()


def set_origin(origin: Origin | None) -> None:
    """Say which call is being answered from now on, in this thread or task."""
    _current.set(origin)


@contextmanager
def acting_for(origin: Origin) -> Iterator[None]:
    """What is done meanwhile comes from there."""
    former = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(former)


def travelling_origin() -> str | None:
    """The current origin as an intent takes it along."""
    origin = _current.get()
    return None if origin is None else origin.as_text()


def note_recorded() -> None:
    """Note that the current call's record is written, or on its way, with what the call has changed."""
    origin = _current.get()
    if origin is not None:
        origin.is_recorded = True
