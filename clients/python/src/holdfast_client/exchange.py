"""One request and its repeats, without input or output: what to send, how long to pause, and what came of it.

`exchange` is a generator. It yields what has to be done and is sent the outcome, so that the blocking client and the
asynchronous one share every decision.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import holdfast_client.refusals  # noqa: F401 - it makes the classes
from holdfast_client.errors import HoldfastError, OutcomeUnknown, Refused, Unavailable, UnexpectedAnswer

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
LONGEST_WAIT_S = 30.0
"""The server waits no longer for its ledger."""

NEEDS_THE_CALLER = {"insufficient_funds", "optimistic_lock_conflict", "linked_payment_failed"}
"""Codes that may succeed later, but not by a repeat a moment later: the caller has to do something first."""

COMES_BY_ITSELF = {"pending", "captured"}
"""Statuses of a payment that the ledger has a moment later; an authorized one waits for its caller."""

SAY_NOTHING_OF_BEFORE = {401, 403, 408, 429}
"""Refusals that come before a request is looked at, so they do not tell whether an earlier attempt was carried out."""

MAY_BE_DONE = {"outcome_unknown", "internal_error", "ledger_unavailable"}

BY_CODE = {one.of_code: one for one in Refused.__subclasses__()}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that came whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """None came. `is_sent`: the request may have arrived."""

    reason: str
    is_sent: bool


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """What to ask, and how to read the answer. `repeatable`: sent twice it counts once."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    wait_s: float | None = None
    slow_s: float = 0.0
    """How long the server may take by agreement, beside what an attempt may take."""
    repeatable: bool = True
    external_id: str | None = None

    def after(self, cursor: str) -> Request[T]:
        """The same for the next page."""
        return replace(self, query={**self.query, "after": cursor})


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; give up after `timeout_s`."""

    request: Request[Any]
    headers: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


Step = Send | Pause
Steps = Generator[Step, Answer | NoAnswer | None, T]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a call may take with all its repeats, and how long one attempt; in seconds."""

    deadline_s: float = 30.0
    attempt_s: float = 10.0


def path(template: str, **variables: str) -> str:
    """A path with its variables percent-encoded."""
    return template.format_map({name: quote(value, safe="") for name, value in variables.items()})


def exchange(
    request: Request[T],
    policy: Policy,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> Steps[T]:
    """Ask until there is an answer, the time is up, or a repeat would not help. Raises HoldfastError."""
    ends_at = clock() + policy.deadline_s
    earlier_may_be_done = False
    for attempt in count():
        outcome = yield _sent(request, ends_at - clock(), policy)
        assert outcome is not None
        if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
            return _read(request, outcome)
        error = error_of(outcome)
        error.external_id = request.external_id
        pause_s = max(retry_after_s(outcome), pause_before(attempt + 1, chance).seconds)
        if not may_repeat(error, request) or clock() + pause_s >= ends_at:
            raise _final(error, request, earlier_may_be_done=earlier_may_be_done)
        earlier_may_be_done = earlier_may_be_done or isinstance(error, OutcomeUnknown)
        yield Pause(pause_s)
    raise AssertionError("it counts for ever")


def pause_before(attempt: int, chance: Callable[[], float] = random.random) -> Pause:
    """Before the attempt of this number, counted from 0: at random, so that many clients do not come back at once."""
    return Pause(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10)) * chance())


def _sent(request: Request[Any], left_s: float, policy: Policy) -> Send:
    """One attempt. A server that is asked to wait for its ledger answers early enough to be heard."""
    left_s = max(left_s, 0.001)
    if request.wait_s is None:
        return Send(request, request.headers, min(policy.attempt_s + request.slow_s, left_s))
    wait_s = int(max(0.0, min(request.wait_s, LONGEST_WAIT_S, left_s - 1)))
    return Send(request, {**request.headers, "Prefer": f"wait={wait_s}"}, min(policy.attempt_s + wait_s, left_s))


def _read(request: Request[T], answer: Answer) -> T:
    try:
        return request.read(answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"{request.method} {request.path} was answered {answer.status} with something else: {error!r}"
        unexpected = UnexpectedAnswer(detail, code="unexpected_answer", status=answer.status)
        unexpected.external_id = request.external_id
        raise unexpected from error


def may_repeat(error: HoldfastError, request: Request[Any]) -> bool:
    """Whether the same request, sent again by itself, may succeed and counts once."""
    if error.code in NEEDS_THE_CALLER or not error.retryable:
        return False
    if error.code == "payment_not_posted" and error.figures.get("payment_status", "pending") not in COMES_BY_ITSELF:
        return False
    return request.repeatable or not isinstance(error, OutcomeUnknown)


def _final(error: HoldfastError, request: Request[Any], *, earlier_may_be_done: bool) -> HoldfastError:
    """What to tell the caller: a reader has nothing to wonder about, and others have if an earlier attempt got lost."""
    if isinstance(error, OutcomeUnknown) and request.method == "GET":
        return _as(Unavailable, error)
    is_silent = isinstance(error, Unavailable) or error.status in SAY_NOTHING_OF_BEFORE
    if earlier_may_be_done and is_silent and request.method != "GET":
        return _as(OutcomeUnknown, error)
    return error


def _as(kind: type[HoldfastError], error: HoldfastError) -> HoldfastError:
    made = kind(error.detail, code=error.code, status=error.status, retryable=error.retryable, figures=error.figures)
    made.external_id, made.request_id = error.external_id, error.request_id
    made.__cause__ = error
    return made


def after_a_break(outcome: Answer | NoAnswer | HoldfastError, breaks: int) -> Pause:
    """How long to pause before events are asked for again, longer with each break; raises what no repeat helps."""
    error = outcome if isinstance(outcome, HoldfastError) else error_of(outcome)
    if not error.retryable:
        raise _as(Unavailable, error) if isinstance(error, OutcomeUnknown) else error
    asked_s = 0.0 if isinstance(outcome, HoldfastError) else retry_after_s(outcome)
    return Pause(max(asked_s, pause_before(breaks + 2).seconds))


def error_of(outcome: Answer | NoAnswer) -> HoldfastError:
    """What an attempt that did not succeed says."""
    if isinstance(outcome, NoAnswer):
        kind = OutcomeUnknown if outcome.is_sent else Unavailable
        return kind(outcome.reason, code="no_answer" if outcome.is_sent else "not_reached", retryable=True)
    error = _problem_in(outcome) or _without_problem(outcome)
    error.request_id = outcome.headers.get("x-request-id")
    return error


def _problem_in(answer: Answer) -> HoldfastError | None:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        return error_of_problem(json.loads(answer.content))
    except (ValueError, KeyError, TypeError):
        return None


def error_of_problem(problem: Mapping[str, Any]) -> HoldfastError:
    """A problem document as the exception of its code."""
    told = dict(problem)
    code, status, retryable = told.pop("code"), told.pop("status"), told.pop("retryable")
    detail = told.pop("detail")
    figures = {name: value for name, value in told.items() if name not in ("type", "title")}
    return _kind_of(code, status)(detail, code=code, status=status, retryable=retryable, figures=figures)


def _kind_of(code: str, status: int) -> type[HoldfastError]:
    if code in MAY_BE_DONE or status in (500, 502, 504):
        return OutcomeUnknown
    if status in (408, 429, 503):
        return Unavailable
    return BY_CODE.get(code, Refused)


def _without_problem(answer: Answer) -> HoldfastError:
    """An answer of something between: a proxy, or another server. One of 500 or more may come late."""
    detail = f"The answer was {answer.status}, without a problem document. Is that the address of Holdfast?"
    if answer.status >= 500:
        return OutcomeUnknown(detail, code="no_answer", status=answer.status, retryable=True)
    return UnexpectedAnswer(detail, code="unexpected_answer", status=answer.status)


def retry_after_s(outcome: Answer | NoAnswer) -> float:
    """How long the server asks to wait: seconds, or until a date (RFC 9110)."""
    text = outcome.headers.get("retry-after", "") if isinstance(outcome, Answer) else ""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()) if text else 0.0
    except (ValueError, TypeError):
        return 0.0
