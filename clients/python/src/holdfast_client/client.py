"""The client for code that blocks: a table of the operations, and how it waits."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from holdfast_client import batches, event_requests, key_requests, requests
from holdfast_client.batches import Decided
from holdfast_client.event_streams import SILENCE_S, EventLines, poll_s
from holdfast_client.exchange import (
    Answer,
    NoAnswer,
    Pause,
    Policy,
    Request,
    Send,
    Step,
    Steps,
    after_a_break,
    exchange,
)
from holdfast_client.models import Event, NewPayment
from holdfast_client.request_parts import Page
from holdfast_client.transport import UNBOUND, Where, no_answer

P = ParamSpec("P")
T = TypeVar("T")


class _Blocking:
    """Carries out what an exchange wants, one step after the other."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        deadline_s: float = 30.0,
        attempt_s: float = 10.0,
        http: httpx.Client | None = None,
    ) -> None:
        """`deadline_s` bounds a call with all its repeats, `attempt_s` each of them. `http` is yours to close."""
        self._where = Where(base_url, key)
        self._policy = Policy(deadline_s, attempt_s)
        self._is_own = http is None
        self._http = http or httpx.Client(timeout=UNBOUND)

    def with_deadline(self, deadline_s: float) -> Self:
        """The same client, with the same connections, for calls that may take longer or less long."""
        made = type(self)(self._where.base_url, self._where.key, http=self._http)
        made._policy = replace(self._policy, deadline_s=deadline_s)
        return made

    def close(self) -> None:
        """Close the connections."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def send(self, request: Request[T]) -> T:
        """Ask, and repeat as long as it makes sense."""
        return self._run(exchange(request, self._policy))

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Step) -> Answer | NoAnswer | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        ends_at = time.monotonic() + step.timeout_s
        try:
            response = self._http.send(self._where.request(step), stream=True, follow_redirects=False)
            try:
                pieces = []
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    if time.monotonic() > ends_at:
                        return NoAnswer("the answer came too slowly", is_sent=True)
                return Answer(response.status_code, response.headers, b"".join(pieces))
            finally:
                response.close()
        except (httpx.TransportError, httpx.DecodingError) as error:
            return no_answer(error)


def _call(describe: Callable[P, Request[T]]) -> Callable[Concatenate[_Blocking, P], T]:
    @functools.wraps(describe)
    def method(self: _Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(describe(*args, **kwargs))

    return method


def _walk(describe: Callable[P, Request[Page[T]]]) -> Callable[Concatenate[_Blocking, P], Iterator[T]]:
    @functools.wraps(describe)
    def method(self: _Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        request = describe(*args, **kwargs)
        while True:
            page = self.send(request)
            yield from page.data
            if page.next is None:
                return
            request = request.after(page.next)

    return method


class Client(_Blocking):
    """Holdfast, for code that blocks. One client serves all threads of a process."""

    create_account = _call(requests.create_account)
    get_account = _call(requests.get_account)
    list_accounts = _walk(requests.list_accounts)
    change_account = _call(requests.change_account)
    get_balance = _call(requests.get_balance)
    get_balance_at = _call(requests.get_balance_at)
    list_entries = _walk(requests.list_entries)
    list_changes = _walk(requests.list_changes)
    register_asset = _call(requests.register_asset)
    list_assets = _walk(requests.list_assets)
    pay = _call(requests.pay)
    authorize = _call(requests.authorize)
    capture = _call(requests.capture)
    void = _call(requests.void)
    refund = _call(requests.refund)
    get_payment = _call(requests.get_payment)
    find_payment = _call(requests.find_payment)
    list_refunds = _walk(requests.list_refunds)
    get_evidence = _call(requests.get_evidence)
    pay_batch = _call(requests.pay_batch)
    post_journal = _call(requests.post_journal)
    get_journal = _call(requests.get_journal)
    reverse_journal = _call(requests.reverse_journal)
    trial_balance = _call(requests.trial_balance)
    create_key = _call(key_requests.create_key)
    list_keys = _walk(key_requests.list_keys)
    rotate_key = _call(key_requests.rotate_key)
    revoke_key = _call(key_requests.revoke_key)
    read_events = _call(event_requests.read_events)
    create_webhook = _call(event_requests.create_webhook)
    list_webhooks = _walk(event_requests.list_webhooks)
    delete_webhook = _call(event_requests.delete_webhook)
    list_dead_letters = _walk(event_requests.list_dead_letters)
    resend_dead_letters = _call(event_requests.resend_dead_letters)
    readiness = _call(requests.readiness)
    ask = _call(requests.ask)

    def pay_stream(self, payments: Iterable[NewPayment]) -> Iterator[Decided]:
        """Any number of payments, each answered by itself in their order; they are read as they are sent."""
        for group in batches.groups(payments):
            yield from self._run(batches.decided(group, self._policy))

    def follow_events(
        self, after: str | None = "end", *, types: Sequence[str] = (), account_id: str | None = None
    ) -> Iterator[Event]:
        """Events for ever, by long polls. Keep the `sequence` of the last one, and begin after it next time.

        `after` None is the first event that there is, "end" is from now on.
        """
        while True:
            page = self.read_events(after, types=types, account_id=account_id, wait_s=poll_s(self._policy.deadline_s))
            yield from page.data
            after = page.next

    def stream_events(
        self, after: str | None = None, *, types: Sequence[str] = (), account_id: str | None = None
    ) -> Iterator[Event]:
        """Events for ever, as a stream that goes on by itself after a break; from now on without `after`."""
        lines, broken_since = EventLines(after), time.monotonic()
        while True:
            request = event_requests.stream_of_events(lines.cursor, types, account_id)
            outcome: Answer | NoAnswer = NoAnswer("the stream has ended", is_sent=True)
            is_whole = False
            try:
                response = self._http.send(
                    self._where.request(Send(request, request.headers, SILENCE_S)), stream=True, follow_redirects=False
                )
                with contextlib.closing(response):
                    if response.status_code != 200:
                        outcome = Answer(response.status_code, response.headers, response.read())
                    else:
                        for line in response.iter_lines():
                            is_whole = True
                            yield from lines.add(line)
            except httpx.TransportError as error:
                outcome = no_answer(error)
            lines.broken()
            broken_since = time.monotonic() if is_whole else broken_since
            time.sleep(after_a_break(outcome, time.monotonic() - broken_since, self._policy).seconds)
