"""The client for code that blocks: a table of the operations, and how it waits."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

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
    get_asset = _call(requests.get_asset)
    list_assets = _walk(requests.list_assets)
    pay = _call(requests.pay)
    authorize = _call(requests.authorize)
    capture = _call(requests.capture)
    void = _call(requests.void)
    refund = _call(requests.refund)
    get_payment = _call(requests.get_payment)
    find_payment = _call(requests.find_payment)
    list_refunds = _walk(requests.list_refunds)
    pay_batch = _call(requests.pay_batch)
    post_journal = _call(journal_requests.post_journal)
    get_journal = _call(journal_requests.get_journal)
    reverse_journal = _call(journal_requests.reverse_journal)
    propose_journal = _call(journal_requests.propose_journal)
    propose_reversal = _call(journal_requests.propose_reversal)
    get_proposal = _call(journal_requests.get_proposal)
    list_proposals = _walk(journal_requests.list_proposals)
    withdraw_proposal = _call(journal_requests.withdraw_proposal)
    trial_balance = _call(report_requests.trial_balance)
    balance_sheet = _call(report_requests.balance_sheet)
    income_statement = _call(report_requests.income_statement)
    conflicts = _walk(report_requests.conflicts)
    conflict_hours = _walk(report_requests.conflict_hours)
    get_evidence = _call(report_requests.get_evidence)
    get_evidence_of_journal = _call(report_requests.get_evidence_of_journal)
    get_evidence_of_refund = _call(report_requests.get_evidence_of_refund)
    find_evidence = _call(report_requests.find_evidence)
    list_heads = _walk(report_requests.list_heads)
    head_consistency = _call(report_requests.head_consistency)
    list_audit = _walk(report_requests.list_audit)
    export_audit = _call(report_requests.export_audit)
    get_audit = _call(report_requests.get_audit)
    list_breaks = _walk(break_requests.list_breaks)
    get_break = _call(break_requests.get_break)
    change_break = _call(break_requests.change_break)
    preview_repair = _call(break_requests.preview_repair)
    repair_break = _call(break_requests.repair_break)
    break_ageing = _walk(break_requests.break_ageing)
    reconcile = _call(break_requests.reconcile)
    get_reconciliation_request = _call(break_requests.get_reconciliation_request)
    list_reconciliation_runs = _walk(break_requests.list_reconciliation_runs)
    get_reconciliation_run = _call(break_requests.get_reconciliation_run)
    save_statement_source = _call(statement_requests.save_statement_source)
    list_statement_sources = _walk(statement_requests.list_statement_sources)
    import_statement = _call(statement_requests.import_statement)
    list_statements = _walk(statement_requests.list_statements)
    get_statement = _call(statement_requests.get_statement)
    list_statement_lines = _walk(statement_requests.list_statement_lines)
    save_statement_account = _call(statement_requests.save_statement_account)
    list_statement_accounts = _walk(statement_requests.list_statement_accounts)
    get_statement_account = _call(statement_requests.get_statement_account)
    run_matching = _call(statement_requests.run_matching)
    list_matches = _walk(statement_requests.list_matches)
    list_unmatched = _walk(statement_requests.list_unmatched)
    make_match = _call(statement_requests.make_match)
    get_match = _call(statement_requests.get_match)
    confirm_match = _call(statement_requests.confirm_match)
    undo_match = _call(statement_requests.undo_match)
    split_match = _call(statement_requests.split_match)
    post_match_difference = _call(statement_requests.post_match_difference)
    get_period = _call(statement_requests.get_period)
    sign_off = _call(statement_requests.sign_off)
    list_sign_offs = _walk(statement_requests.list_sign_offs)
    reopen_sign_off = _call(statement_requests.reopen_sign_off)
    create_key = _call(key_requests.create_key)
    list_keys = _walk(key_requests.list_keys)
    get_key = _call(key_requests.get_key)
    rotate_key = _call(key_requests.rotate_key)
    revoke_key = _call(key_requests.revoke_key)
    read_events = _call(event_requests.read_events)
    create_webhook = _call(event_requests.create_webhook)
    list_webhooks = _walk(event_requests.list_webhooks)
    get_webhook = _call(event_requests.get_webhook)
    change_webhook = _call(event_requests.change_webhook)
    rotate_webhook_secret = _call(event_requests.rotate_webhook_secret)
    delete_webhook = _call(event_requests.delete_webhook)
    list_deliveries = _walk(event_requests.list_deliveries)
    list_dead_letters = _walk(event_requests.list_dead_letters)
    resend_dead_letters = _call(event_requests.resend_dead_letters)
    create_monitor = _call(event_requests.create_monitor)
    list_monitors = _walk(event_requests.list_monitors)
    get_monitor = _call(event_requests.get_monitor)
    end_monitor = _call(event_requests.end_monitor)
    readiness = _call(requests.readiness)
    liveness = _call(requests.liveness)
    metrics = _call(requests.metrics)
    list_problems = _walk(requests.list_problems)
    ask = _call(requests.ask)

    def pay_stream(self, payments: Iterable[NewPayment]) -> Iterator[Decided]:
        """Any number of payments, each answered by itself in their order; they are read as they are sent."""
        for group in batches.groups(payments):
            yield from self._run(batches.decided(group, self._policy))

    def follow_events(
        self, after: str | None = None, *, types: Types = (), account_id: str | None = None
    ) -> Iterator[Event]:
        """Events for ever, by long polls; a server that is away is waited for, except to begin without `after`.

        Keep the `sequence` of the last one, and begin after it next time. Without `after` it begins now; "0" is before
        the first event that there is.
        """
        cursor, breaks, wait_s = self._beginning(after), 0, poll_s(self._policy.deadline_s)
        while True:
            try:
                page = self.read_events(cursor, types=types, account_id=account_id, wait_s=wait_s)
            except Unavailable as error:
                breaks += 1
                time.sleep(after_a_break(error, breaks).seconds)
                continue
            cursor, breaks = page.next, 0
            yield from page.data

    def stream_events(
        self, after: str | None = None, *, types: Types = (), account_id: str | None = None
    ) -> Iterator[Event]:
        """The same as a stream, which tells sooner."""
        lines, breaks = EventLines(self._beginning(after)), 0
        while True:
            request = event_requests.stream_of_events(lines.cursor, types, account_id)
            outcome: Answer | NoAnswer = NoAnswer("the stream has ended", is_sent=True)
            try:
                response = self._http.send(
                    self._where.request(Send(request, request.headers, SILENCE_S)), stream=True, follow_redirects=False
                )
                with contextlib.closing(response):
                    if response.status_code != 200:
                        outcome = Answer(response.status_code, response.headers, response.read())
                    else:
                        for line in response.iter_lines():
                            breaks = 0 if line.startswith("id") else breaks
                            yield from lines.add(line)
            except httpx.TransportError as error:
                outcome = no_answer(error)
            lines.broken()
            breaks += 1
            time.sleep(after_a_break(outcome, breaks).seconds)

    def _beginning(self, after: str | None) -> str:
        """The cursor to begin after. The end is asked for, so that nothing is lost when the first connection breaks."""
        return self.read_events("end").next if after is None or after == "end" else after
