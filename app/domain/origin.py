"""Where what is done comes from: the call of the API that is being answered in this thread.

The log names its request id, and what changes something records who asked for it. It is a context variable, because it
is of no consequence to any decision: no function between the API and a log line, or a record, has to pass it on.
"""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Origin:
    """One call of the API."""

    request_id: str


_current: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current_origin() -> Origin | None:
    """The call that is being answered here; None where there is none."""
    return _current.get()


def set_origin(origin: Origin | None) -> None:
    """Say which call is being answered from now on, in this thread or task."""
    _current.set(origin)
