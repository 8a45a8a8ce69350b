"""Who may call what: every route declares its scope, and what it takes and answers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, g, request

from app.api.context import services
from app.api.request_refusals import forbidden, unauthenticated
from app.api.responses import problem
from app.domain.refusals import Refusal
from app.services.access.api_keys import Caller, Scope

Answer = type | tuple[type, ...] | None
"""What a route answers with: one kind of body, one of several, or none."""


@dataclass(slots=True, frozen=True)
class Operation:
    """What the API reference says about a route."""

    summary: str
    scope: Scope | None
    body: type | None
    answers: dict[int, Answer]
    parameters: tuple[str, ...]
    headers: tuple[str, ...]
    lines: tuple[type, type] | None
    """What one line of NDJSON asks and answers, if the route also takes a stream of lines."""


OPERATION = "__holdfast_operation__"

View = Callable[..., Response]


def operation(
    summary: str,
    *,
    scope: Scope | None,
    body: type | None = None,
    answers: dict[int, Answer],
    parameters: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
    lines: tuple[type, type] | None = None,
) -> Callable[[View], View]:
    """Declare a view's operation, and admit only callers with its scope; `scope=None` is open to all."""

    def mark(view: View) -> View:
        @wraps(view)
        def guarded(**path: Any) -> Response:
            if scope is not None:
                refusal = _admit(scope)
                if refusal is not None:
                    return problem(refusal)
            return view(**path)

        setattr(guarded, OPERATION, Operation(summary, scope, body, answers, parameters, headers, lines))
        return guarded

    return mark


def _admit(scope: Scope) -> Refusal | None:
    kind, _, key = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    caller: Caller | None = None
    if kind.lower() == "bearer" and key:
        caller = services().gatekeeper.caller(key.strip())
    if caller is None:
        return unauthenticated()
    if not caller.may(scope):
        return forbidden(scope.value)
    g.caller = caller
    return None


def actor() -> str:
    """Who asks, as the ledger records it."""
    caller: Caller = g.caller
    return f"key:{caller.key_id}"
