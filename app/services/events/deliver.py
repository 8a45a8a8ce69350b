"""Delivering events to webhook endpoints: at least once, each endpoint by itself.

Every endpoint has a task of its own, so one that hangs delays no other. A round tries again what is due, reads the next
events and sends them; then it writes, in one transaction, the attempts, what could not be delivered, and up to where
the endpoint has been told. A killed deliverer repeats its last round at most.

In an ordered endpoint an event is sent after all earlier ones of each of its accounts. If one of those waits, it waits
too, without being tried; once the earlier one is dead, it is not waited for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.errors import Fault
from app.domain.events import Cursor, Event
from app.domain.webhooks import Attempt, Endpoint, Waiting, after_failure, free_to_go

if TYPE_CHECKING:
    from app.domain.webhooks import Secrets
    from app.ledger.events import EventFeed
    from app.ledger.webhook_deliveries import LedgerDeliveries
    from app.webhook_sender import WebhookSender

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Messages that are on their way to one endpoint at once."""

EVENTS_A_ROUND = 64
"""New events of one round; after a crash, at most so many are sent again."""

MOST_WAITING = 2_000
"""Events that may wait for an endpoint before it is told of new ones. They are not lost: the ledger has them."""

DOWN_AFTER = 10
"""After so many failures in a row an endpoint counts as down: only what waits is tried, until one is taken."""


class EndpointWork:
    """What is done for one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: LedgerDeliveries,
        feed: EventFeed,
        sender: WebhookSender,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.secrets: Sequence[str] = ()
        self._cursor = endpoint.cursor
        self._ledger = ledger
        self._feed = feed
        self._sender = sender
        self._now = now
        self._jitter = jitter
        self._places = asyncio.Semaphore(AT_ONCE)
        self._failures = 0
        self.is_gone = False

    @property
    def is_down(self) -> bool:
        """Whether it has taken nothing for long."""
        return self._failures >= DOWN_AFTER

    async def round(self) -> bool:
        """Try again what is due, and tell of new events; whether there was anything to do."""
        waiting = await asyncio.to_thread(self._ledger.waiting, self.endpoint.endpoint_id, MOST_WAITING)
        due = free_to_go(waiting, self._now(), is_ordered=self.endpoint.is_ordered)[:EVENTS_A_ROUND]
        was_down = self.is_down
        if self.endpoint.is_ordered:
            retried = await self._retry(due)
            told = retried or await self._tell_unless_down(waiting)
        else:
            retried, told = await asyncio.gather(self._retry(due), self._tell_unless_down(waiting))
        if was_down and self._failures == 0:
            await asyncio.to_thread(self._ledger.hasten, self.endpoint.endpoint_id)
        if self.is_gone:
            await asyncio.to_thread(self._ledger.note_gone, self.endpoint)
        return retried or told

    async def _tell_unless_down(self, waiting: Sequence[Waiting]) -> bool:
        return not (self.is_down and waiting) and await self._tell(waiting)

    async def _retry(self, due: Sequence[Waiting]) -> bool:
        """Try again what waits; whether there was anything."""
        if not due:
            return False
        events = await asyncio.to_thread(self._events_of, due)
        outcomes = await self._send([(event, one.attempts + 1) for one, event in zip(due, events, strict=True)], set())
        tried = [(one, outcome) for one, outcome in zip(due, outcomes, strict=True) if outcome is not None]
        delivered = [one for one, attempt in tried if attempt.is_delivered]
        failed = [
            after_failure(one, attempt, self._now(), self._jitter())
            for one, attempt in tried
            if not attempt.is_delivered
        ]
        attempts = [attempt for _, attempt in tried]
        await asyncio.to_thread(self._ledger.record, self.endpoint, attempts, delivered, failed, None)
        return True

    def _events_of(self, due: Sequence[Waiting]) -> list[Event]:
        return [self._event_at(one.cursor) for one in due]

    def _event_at(self, cursor: Cursor) -> Event:
        [event] = self._feed.page(cursor._replace(slot=cursor.slot - 1), 1).events
        return event

    async def _tell(self, waiting: Sequence[Waiting]) -> bool:
        """Tell of new events; whether there were any."""
        if len(waiting) >= MOST_WAITING:
            return False
        page = await asyncio.to_thread(self._feed.page, self._cursor, EVENTS_A_ROUND, self.endpoint.wanted)
        if page.cursor == self._cursor:
            return False
        ahead = {account for one in waiting for account in one.account_ids}
        outcomes = await self._send([(event, 1) for event in page.events], ahead)
        left = [
            self._waiting(event, outcome)
            for event, outcome in zip(page.events, outcomes, strict=True)
            if outcome is None or not outcome.is_delivered
        ]
        attempts = [one for one in outcomes if one is not None]
        await asyncio.to_thread(self._ledger.record, self.endpoint, attempts, (), left, page.cursor)
        self._cursor = page.cursor
        return bool(page.events) or not page.is_end

    def _waiting(self, event: Event, attempt: Attempt | None) -> Waiting:
        """An event that was not taken, or that waits for an earlier one."""
        now = self._now()
        one = Waiting(
            self.endpoint.endpoint_id, event.cursor, event.event_id, event.type.value, event.account_ids, 0, now, now
        )
        return one if attempt is None else after_failure(one, attempt, now, self._jitter())

    async def _send(self, numbered: Sequence[tuple[Event, int]], kept_back: set[str]) -> Sequence[Attempt | None]:
        """Send events, each with the number of its attempt; None for one that waits for an earlier one."""
        if self.endpoint.is_ordered:
            return await self._in_order(numbered, kept_back)
        return await asyncio.gather(*(self._attempt(event, number) for event, number in numbered))

    async def _in_order(self, numbered: Sequence[tuple[Event, int]], kept_back: set[str]) -> list[Attempt | None]:
        """Send events so that those of an account follow each other, and none after one that failed."""
        latest: dict[str, Awaitable[bool]] = {}
        tasks: list[asyncio.Task[Attempt | None]] = []
        for event, number in numbered:
            before = list({id(latest[one]): latest[one] for one in event.account_ids if one in latest}.values())
            if kept_back.isdisjoint(event.account_ids):
                task = asyncio.create_task(self._after(before, event, number))
            else:
                task = asyncio.create_task(_nothing())
            tasks.append(task)
            taken = asyncio.ensure_future(_is_taken(task))
            latest.update(dict.fromkeys(event.account_ids, taken))
        return await asyncio.gather(*tasks)

    async def _after(self, before: Sequence[Awaitable[bool]], event: Event, number: int) -> Attempt | None:
        if not all(await asyncio.gather(*before)):
            return None
        return await self._attempt(event, number)

    async def _attempt(self, event: Event, number: int) -> Attempt:
        """Send one event, and note how that went."""
        body = json.dumps(event.document(), ensure_ascii=False, separators=(",", ":"))
        async with self._places:
            started_at, began = self._now(), time.monotonic()
            sent = await self._sender.send(self.endpoint.url, event.event_id, body, self.secrets)
            duration_ms = round(1_000 * (time.monotonic() - began))
        attempt = Attempt(
            self.endpoint.endpoint_id,
            event.event_id,
            event.type.value,
            event.cursor,
            number,
            self.endpoint.url,
            started_at,
            duration_ms,
            sent.status,
            sent.answer,
            sent.retry_after_s,
        )
        self._failures = 0 if attempt.is_delivered else self._failures + 1
        self.is_gone = self.is_gone or attempt.is_gone
        return attempt


async def _nothing() -> None:
    return None


async def _is_taken(task: asyncio.Task[Attempt | None]) -> bool:
    attempt = await task
    return attempt is not None and attempt.is_delivered


LOOK_S = 0.2
"""How often an endpoint without anything to do looks for new events, and for what is due."""

REFRESH_S = 1.0
"""How soon a new, changed or disabled endpoint is noticed."""

PAUSE_AFTER_FAULT_S = 2.0


class Deliverer:
    """Delivers to all endpoints, for as long as this process is the one that does."""

    def __init__(self, ledger: LedgerDeliveries, feed: EventFeed, new_work: Callable[[Endpoint], EndpointWork]) -> None:
        self._ledger = ledger
        self._feed = feed
        self._new_work = new_work
        self._tasks: dict[str, tuple[EndpointWork, asyncio.Task[None]]] = {}

    async def run(self, may_deliver: Callable[[], bool], stopped: asyncio.Event) -> None:
        """Deliver until told to stop, whatever fails meanwhile."""
        refreshed_at = float("-inf")
        while not stopped.is_set():
            try:
                if time.monotonic() - refreshed_at >= REFRESH_S:
                    refreshed_at = time.monotonic()
                    await (self.refresh() if await asyncio.to_thread(may_deliver) else self._drop(set()))
                if self._tasks:
                    await asyncio.to_thread(self._feed.sequence)
            except Fault as fault:
                log.warning("webhooks wait: %s: %s", type(fault).__name__, fault)
                await self._drop(set())
            await _pause(stopped, LOOK_S)
        await self._drop(set())

    async def refresh(self) -> None:
        """Begin to work for endpoints that are new or have changed, and cease where one is no more."""
        endpoints = await asyncio.to_thread(self._ledger.endpoints)
        secrets: Secrets = await asyncio.to_thread(self._ledger.secrets)
        kept = {one.endpoint_id for one in endpoints if not self._has_changed(one)}
        await self._drop(kept)
        for one in endpoints:
            if one.endpoint_id not in self._tasks:
                work = self._new_work(one)
                self._tasks[one.endpoint_id] = work, asyncio.create_task(self._work(work))
            self._tasks[one.endpoint_id][0].secrets = secrets.get(one.endpoint_id, ())

    def _has_changed(self, endpoint: Endpoint) -> bool:
        known = self._tasks.get(endpoint.endpoint_id)
        if known is None or known[1].done():
            return True
        was = known[0].endpoint
        return (was.url, was.types, was.state) != (endpoint.url, endpoint.types, endpoint.state)

    async def _work(self, work: EndpointWork) -> None:
        while not work.is_gone:
            try:
                has_worked = await work.round()
            except Fault as fault:
                log.warning("endpoint %s waits: %s", work.endpoint.endpoint_id, fault)
                return  # begun again from what is on record
            except Exception:
                log.exception("endpoint %s failed", work.endpoint.endpoint_id)
                await asyncio.sleep(PAUSE_AFTER_FAULT_S)
                return
            if not has_worked:
                await asyncio.sleep(LOOK_S)

    async def _drop(self, kept: set[str]) -> None:
        for endpoint_id in self._tasks.keys() - kept:
            _, task = self._tasks.pop(endpoint_id)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return
