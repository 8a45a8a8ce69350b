"""The client for code that awaits: the same table, and how it waits."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import anyio
import httpx

from holdfast_client import (
    batches,
    break_requests,
    event_requests,
    journal_requests,
    key_requests,
    report_requests,
    requests,
    statement_requests,
)
from holdfast_client.batches import Decided
from holdfast_client.errors import Unavailable
from holdfast_client.event_requests import Types
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
            return no_answer(error)


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
    get_asset = _acall(requests.get_asset)
    list_assets = _awalk(requests.list_assets)
    pay = _acall(requests.pay)
    authorize = _acall(requests.authorize)
    capture = _acall(requests.capture)
    void = _acall(requests.void)
    refund = _acall(requests.refund)
    get_payment = _acall(requests.get_payment)
    find_payment = _acall(requests.find_payment)
    list_refunds = _awalk(requests.list_refunds)
    pay_batch = _acall(requests.pay_batch)
    post_journal = _acall(journal_requests.post_journal)
    get_journal = _acall(journal_requests.get_journal)
    reverse_journal = _acall(journal_requests.reverse_journal)
    propose_journal = _acall(journal_requests.propose_journal)
    propose_reversal = _acall(journal_requests.propose_reversal)
    get_proposal = _acall(journal_requests.get_proposal)
    list_proposals = _awalk(journal_requests.list_proposals)
    withdraw_proposal = _acall(journal_requests.withdraw_proposal)
    trial_balance = _acall(report_requests.trial_balance)
    balance_sheet = _acall(report_requests.balance_sheet)
    income_statement = _acall(report_requests.income_statement)
    conflicts = _awalk(report_requests.conflicts)
    conflict_hours = _awalk(report_requests.conflict_hours)
    get_evidence = _acall(report_requests.get_evidence)
    get_evidence_of_journal = _acall(report_requests.get_evidence_of_journal)
    get_evidence_of_refund = _acall(report_requests.get_evidence_of_refund)
    find_evidence = _acall(report_requests.find_evidence)
    list_heads = _awalk(report_requests.list_heads)
    head_consistency = _acall(report_requests.head_consistency)
    list_audit = _awalk(report_requests.list_audit)
    export_audit = _acall(report_requests.export_audit)
    get_audit = _acall(report_requests.get_audit)
    list_breaks = _awalk(break_requests.list_breaks)
    get_break = _acall(break_requests.get_break)
    change_break = _acall(break_requests.change_break)
    preview_repair = _acall(break_requests.preview_repair)
    repair_break = _acall(break_requests.repair_break)
    break_ageing = _awalk(break_requests.break_ageing)
    reconcile = _acall(break_requests.reconcile)
    get_reconciliation_request = _acall(break_requests.get_reconciliation_request)
    list_reconciliation_runs = _awalk(break_requests.list_reconciliation_runs)
    get_reconciliation_run = _acall(break_requests.get_reconciliation_run)
    save_statement_source = _acall(statement_requests.save_statement_source)
    list_statement_sources = _awalk(statement_requests.list_statement_sources)
    import_statement = _acall(statement_requests.import_statement)
    list_statements = _awalk(statement_requests.list_statements)
    get_statement = _acall(statement_requests.get_statement)
    list_statement_lines = _awalk(statement_requests.list_statement_lines)
    save_statement_account = _acall(statement_requests.save_statement_account)
    list_statement_accounts = _awalk(statement_requests.list_statement_accounts)
    get_statement_account = _acall(statement_requests.get_statement_account)
    run_matching = _acall(statement_requests.run_matching)
    list_matches = _awalk(statement_requests.list_matches)
    list_unmatched = _awalk(statement_requests.list_unmatched)
    make_match = _acall(statement_requests.make_match)
    get_match = _acall(statement_requests.get_match)
    confirm_match = _acall(statement_requests.confirm_match)
    undo_match = _acall(statement_requests.undo_match)
    split_match = _acall(statement_requests.split_match)
    post_match_difference = _acall(statement_requests.post_match_difference)
    get_period = _acall(statement_requests.get_period)
    sign_off = _acall(statement_requests.sign_off)
    list_sign_offs = _awalk(statement_requests.list_sign_offs)
    reopen_sign_off = _acall(statement_requests.reopen_sign_off)
    create_key = _acall(key_requests.create_key)
    list_keys = _awalk(key_requests.list_keys)
    get_key = _acall(key_requests.get_key)
    rotate_key = _acall(key_requests.rotate_key)
    revoke_key = _acall(key_requests.revoke_key)
    read_events = _acall(event_requests.read_events)
    create_webhook = _acall(event_requests.create_webhook)
    list_webhooks = _awalk(event_requests.list_webhooks)
    get_webhook = _acall(event_requests.get_webhook)
    change_webhook = _acall(event_requests.change_webhook)
    rotate_webhook_secret = _acall(event_requests.rotate_webhook_secret)
    delete_webhook = _acall(event_requests.delete_webhook)
    list_deliveries = _awalk(event_requests.list_deliveries)
    list_dead_letters = _awalk(event_requests.list_dead_letters)
    resend_dead_letters = _acall(event_requests.resend_dead_letters)
    create_monitor = _acall(event_requests.create_monitor)
    list_monitors = _awalk(event_requests.list_monitors)
    get_monitor = _acall(event_requests.get_monitor)
    end_monitor = _acall(event_requests.end_monitor)
    readiness = _acall(requests.readiness)
    liveness = _acall(requests.liveness)
    metrics = _acall(requests.metrics)
    list_problems = _awalk(requests.list_problems)
    ask = _acall(requests.ask)

    async def pay_stream(self, payments: AsyncIterable[NewPayment] | Iterable[NewPayment]) -> AsyncIterator[Decided]:
        """Any number of payments, each answered by itself in their order; they are read as they are sent."""
        async for group in batches.groups_as_they_come(payments):
            for one in await self._run(batches.decided(group, self._policy)):
                yield one

    async def follow_events(
        self, after: str | None = None, *, types: Types = (), account_id: str | None = None
    ) -> AsyncIterator[Event]:
        """Events for ever, by long polls; a server that is away is waited for, except to begin without `after`.

        Keep the `sequence` of the last one, and begin after it next time. Without `after` it begins now; "0" is before
        the first event that there is.
        """
        cursor, breaks, wait_s = await self._beginning(after), 0, poll_s(self._policy.deadline_s)
        while True:
            try:
                page = await self.read_events(cursor, types=types, account_id=account_id, wait_s=wait_s)
            except Unavailable as error:
                breaks += 1
                await anyio.sleep(after_a_break(error, breaks).seconds)
                continue
            cursor, breaks = page.next, 0
            for one in page.data:
                yield one

    async def stream_events(
        self, after: str | None = None, *, types: Types = (), account_id: str | None = None
    ) -> AsyncIterator[Event]:
        """The same as a stream, which tells sooner."""
        lines, breaks = EventLines(await self._beginning(after)), 0
        while True:
            request = event_requests.stream_of_events(lines.cursor, types, account_id)
            outcome: Answer | NoAnswer = NoAnswer("the stream has ended", is_sent=True)
            try:
                response = await self._http.send(
                    self._where.request(Send(request, request.headers, SILENCE_S)), stream=True, follow_redirects=False
                )
                async with contextlib.aclosing(response):
                    if response.status_code != 200:
                        outcome = Answer(response.status_code, response.headers, await response.aread())
                    else:
                        async for line in response.aiter_lines():
                            breaks = 0 if line.startswith("id") else breaks
                            for one in lines.add(line):
                                yield one
            except httpx.TransportError as error:
                outcome = no_answer(error)
            lines.broken()
            breaks += 1
            await anyio.sleep(after_a_break(outcome, breaks).seconds)

    async def _beginning(self, after: str | None) -> str:
        """The cursor to begin after. The end is asked for, so that nothing is lost when the first connection breaks."""
        return (await self.read_events("end")).next if after is None or after == "end" else after
