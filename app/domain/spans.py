"""Spans: here tracing is told what is done, and for which call. Without tracing, nothing happens.

Tracing is `app/tracing.py`, which a process installs at its start if it is wanted. A span is written only within the
call that is being answered, or within a batch of payments whose calls are traced: nothing else is worth a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.domain.origin import Origin
    from app.tracing import Tracing

_NOTHING = nullcontext()
_tracing: Tracing | None = None


def install(tracing: Tracing | None) -> None:
    """Have this process trace from now on, or no longer."""
    global _tracing
    _tracing = tracing


def is_on() -> bool:
    """Whether this process traces."""
    return _tracing is not None


def span(name: str, **attributes: str | int) -> AbstractContextManager[None]:
    """What is done meanwhile is a span of the current call, or of the current batch."""
    return _NOTHING if _tracing is None else _tracing.span(name, attributes)


def batch_span(name: str, origins: Sequence[str]) -> AbstractContextManager[None]:
    """What is done meanwhile is done for the calls of these origins, as their intents bring them along."""
    return _NOTHING if _tracing is None else _tracing.batch(name, origins)


def begin_call(origin: Origin, traceparent: str | None) -> None:
    """A call arrives; `traceparent` is the header of that name, by which its client's own trace goes on."""
    if _tracing is not None:
        _tracing.begin_call(origin, traceparent)


def end_call(origin: Origin, status: int) -> None:
    """A call is answered."""
    if _tracing is not None and origin.span is not None:
        _tracing.end_call(origin, status)
