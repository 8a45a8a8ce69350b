"""Wiring of tracing: a process that is to trace imports what that takes, and no other does."""

from collections.abc import Callable

from app.domain import spans
from app.domain.errors import Misconfigured
from app.settings import Settings


def start_tracing(settings: Settings, process: str) -> Callable[[], None]:
    """Trace from now on, if an endpoint is set; returns what sends the last spans at the end."""
    if not settings.otlp_endpoint:
        return lambda: None
    try:
        from app.tracing import Tracing
    except ModuleNotFoundError as error:
        raise Misconfigured(f"traces need the packages of requirements-tracing.lock: {error}") from None
    tracing = Tracing(process)
    spans.install(tracing)
    return tracing.stop
