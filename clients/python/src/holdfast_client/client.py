"""The two clients. Both are a table of the operations in `requests.py`; only how they wait differs."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import anyio
import httpx

from holdfast_client import batches, requests
from holdfast_client.batches import Decided
from holdfast_client.exchange import Answer, NoAnswer, Pause, Policy, Request, Send, Step, Steps, exchange
from holdfast_client.models import NewPayment
from holdfast_client.requests import Page

P = ParamSpec("P")
T = TypeVar("T")

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What fails before anything of a request is sent."""

VERSION = "0.1.0"

UNBOUND = httpx.Timeout(None)
"""Each attempt brings a bound of its own."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where Holdfast is, and the key to it."""

    base_url: str
    key: str

    def request(self, send: Send) -> httpx.Request:
        """An attempt as httpx has it."""
        asked = send.request
        return httpx.Request(
            asked.method,
            self.base_url.rstrip("/").removesuffix("/v1") + asked.path,
            params=dict(asked.query) or None,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Accept": "application/json, application/x-ndjson",
                "User-Agent": f"holdfast-client-python/{VERSION}",
                **send.headers,
            },
            content=asked.content,
            extensions={"timeout": httpx.Timeout(send.timeout_s).as_dict()},
        )


def _no_answer(error: Exception) -> NoAnswer:
    return NoAnswer(f"{type(error).__name__}: {error}", is_sent=not isinstance(error, NOT_SENT))


# Blocking


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
            return _no_answer(error)


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
    create_key = _call(requests.create_key)
    list_keys = _walk(requests.list_keys)
    rotate_key = _call(requests.rotate_key)
    revoke_key = _call(requests.revoke_key)
    readiness = _call(requests.readiness)
    ask = _call(requests.ask)

    def pay_stream(self, payments: Iterable[NewPayment]) -> Iterator[Decided]:
        """Any number of payments, each answered by itself in their order; they are read as they are sent."""
        for group in batches.groups(payments):
            yield from self._run(batches.decided(group, self._policy))


# Asynchronous


class _Asynchronous:
    """The same for code that awaits, on asyncio or Trio."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        deadline_s: float = 30.0,
        attempt_s: float = 10.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """`deadline_s` bounds a call with all its repeats, `attempt_s` each of them. `http` is yours to close."""
        self._where = Where(base_url, key)
        self._policy = Policy(deadline_s, attempt_s)
        self._is_own = http is None
        self._http = http or httpx.AsyncClient(timeout=UNBOUND)

    def with_deadline(self, deadline_s: float) -> Self:
        """The same client, with the same connections, for calls that may take longer or less long."""
        made = type(self)(self._where.base_url, self._where.key, http=self._http)
        made._policy = replace(self._policy, deadline_s=deadline_s)
        return made

    async def aclose(self) -> None:
        """Close the connections."""
        if self._is_own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.aclose()

    async def send(self, request: Request[T]) -> T:
        """Ask, and repeat as long as it makes sense."""
        return await self._run(exchange(request, self._policy))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Step) -> Answer | NoAnswer | None:
        if isinstance(step, Pause):
            await anyio.sleep(step.seconds)
            return None
        try:
            with anyio.fail_after(step.timeout_s):
                response = await self._http.send(self._where.request(step), follow_redirects=False)
                return Answer(response.status_code, response.headers, response.content)
        except TimeoutError:
            return NoAnswer("no answer came in time", is_sent=True)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _no_answer(error)


def _acall(describe: Callable[P, Request[T]]) -> Callable[Concatenate[_Asynchronous, P], Awaitable[T]]:
    @functools.wraps(describe)
    async def method(self: _Asynchronous, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(describe(*args, **kwargs))

    return method


def _awalk(describe: Callable[P, Request[Page[T]]]) -> Callable[Concatenate[_Asynchronous, P], AsyncIterator[T]]:
    @functools.wraps(describe)
    async def method(self: _Asynchronous, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        request = describe(*args, **kwargs)
        while True:
            page = await self.send(request)
            for one in page.data:
                yield one
            if page.next is None:
                return
            request = request.after(page.next)

    return method


class AsyncClient(_Asynchronous):
    """Holdfast, for code that awaits."""

    create_account = _acall(requests.create_account)
    get_account = _acall(requests.get_account)
    list_accounts = _awalk(requests.list_accounts)
    change_account = _acall(requests.change_account)
    get_balance = _acall(requests.get_balance)
    get_balance_at = _acall(requests.get_balance_at)
    list_entries = _awalk(requests.list_entries)
    list_changes = _awalk(requests.list_changes)
    register_asset = _acall(requests.register_asset)
    list_assets = _awalk(requests.list_assets)
    pay = _acall(requests.pay)
    authorize = _acall(requests.authorize)
    capture = _acall(requests.capture)
    void = _acall(requests.void)
    refund = _acall(requests.refund)
    get_payment = _acall(requests.get_payment)
    find_payment = _acall(requests.find_payment)
    list_refunds = _awalk(requests.list_refunds)
    get_evidence = _acall(requests.get_evidence)
    pay_batch = _acall(requests.pay_batch)
    post_journal = _acall(requests.post_journal)
    get_journal = _acall(requests.get_journal)
    reverse_journal = _acall(requests.reverse_journal)
    trial_balance = _acall(requests.trial_balance)
    create_key = _acall(requests.create_key)
    list_keys = _awalk(requests.list_keys)
    rotate_key = _acall(requests.rotate_key)
    revoke_key = _acall(requests.revoke_key)
    readiness = _acall(requests.readiness)
    ask = _acall(requests.ask)

    async def pay_stream(self, payments: AsyncIterable[NewPayment] | Iterable[NewPayment]) -> AsyncIterator[Decided]:
        """Any number of payments, each answered by itself in their order; they are read as they are sent."""
        async for group in batches.groups_as_they_come(payments):
            for one in await self._run(batches.decided(group, self._policy)):
                yield one
