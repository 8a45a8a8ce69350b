"""What is done for one webhook endpoint: its events are read, sent as soon as it has a free place, and put on record.

Sending goes on while events are read and written: as soon as one message is answered, the next one goes. A round only
takes up what is due and what is new, and writes, in one transaction, what became of messages since.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.events import Event
from app.domain.events_in_hand import EVENTS_A_PAGE, EventsInHand, InHand
from app.domain.webhooks import Attempt, Endpoint, Waiting

if TYPE_CHECKING:
    from app.ledger.events import EventFeed
    from app.ledger.webhook_deliveries import LedgerDeliveries
    from app.webhook_sender import WebhookSender

AT_ONCE = 16
"""Messages that are on their way to one endpoint at once, at most."""

RECORDED_AT_ONCE = 32
"""Answered messages that are worth a transaction of their own, while others are on their way."""

READ_AT_ONCE = 16
"""Events that wait and are read with one page, if they follow each other."""

MOST_WAITING = 2_000
"""Events that may wait for an endpoint before it is told of new ones. They are not lost: the ledger has them."""

DOWN_AFTER = 10
"""After so many failures in a row an endpoint counts as down: only what waits is tried, until one is taken."""

LOOK_S = 0.2
"""How often an endpoint looks for new events, and for what is due, while nothing is answered."""


class EndpointWork:
    """What is done for one endpoint. `places` is how many messages may be on their way to it at once."""

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
        self.places = AT_ONCE
        self.is_gone = False
        self._ledger = ledger
        self._feed = feed
        self._sender = sender
        self._now = now
        self._jitter = jitter
        self._hand = EventsInHand(endpoint.endpoint_id, endpoint.cursor, is_ordered=endpoint.is_ordered)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered = 0
        self._news = asyncio.Event()
        self._bug: BaseException | None = None
        self._failures = 0
        self._was_down = False
        self._has_waiting = False
        self._is_full = False
        self._has_more = True
        self._is_ending = False
        self._newest: int | None = None
        self._next_try_at: datetime | None = None

    @property
    def is_down(self) -> bool:
        """Whether it has taken nothing for long."""
        return self._failures >= DOWN_AFTER

    @property
    def is_sending(self) -> bool:
        """Whether messages are on their way, or were answered and are not on record."""
        return bool(self._tasks or self._answered)

    def look(self, newest: int, next_try_at: datetime | None) -> None:
        """Told from time to time: the last position of all events, and when what waits is next to be tried, if any."""
        self._newest, self._next_try_at = newest, next_try_at

    async def round(self) -> bool:
        """Take up what is due and what is new, and record what was answered; whether there was anything to do."""
        if self._may_take_up:
            self._has_more = await self._take_up()
        self._fill()
        await self._until_news(LOOK_S)
        has_recorded = await self._record()
        if self.is_gone:
            await asyncio.to_thread(self._ledger.note_gone, self.endpoint)
        return self._has_more or has_recorded or self.is_sending

    async def end(self, within_s: float) -> None:
        """Send nothing more, and record what is answered by then."""
        self._is_ending = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        await self.abandon()
        await self._record()

    async def abandon(self) -> None:
        """Give up what is on its way. The next deliverer sends again what is not on record."""
        self._is_ending = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Taking up

    @property
    def _may_take_up(self) -> bool:
        """Whether there may be something: an endpoint with nothing to do asks the ledger nothing of its own."""
        if self._newest is None or self._has_more or not self._hand.is_empty:
            return True
        is_due = self._next_try_at is not None and self._next_try_at <= self._now()
        is_new = self._newest > self._hand.read.position and (self._may_try_new or self._next_try_at is None)
        return is_due or is_new

    async def _take_up(self) -> bool:
        """Take in hand what is due, and a page of new events if there is room; whether there may be more."""
        waiting = await asyncio.to_thread(self._ledger.waiting, self.endpoint.endpoint_id, MOST_WAITING)
        self._has_waiting, self._is_full = bool(waiting), len(waiting) >= MOST_WAITING
        due = self._hand.due(waiting, self._now())
        if due:
            self._hand.take_again(due, await asyncio.to_thread(self._events_of, due), waiting)
        if not self._may_try_new or not self._hand.has_room:
            return bool(due)
        after = self._hand.read
        page = await asyncio.to_thread(self._feed.page, after, EVENTS_A_PAGE, self.endpoint.wanted)
        self._hand.take_up(page, waiting)
        return bool(due or page.events) or not page.is_end

    def _events_of(self, due: Sequence[Waiting]) -> list[Event]:
        """The events that wait. They often follow each other, so some are read at once."""
        found: dict[object, Event] = {}
        for number, one in enumerate(due):
            if one.cursor not in found:
                before = one.cursor._replace(slot=one.cursor.slot - 1)
                page = self._feed.page(before, min(len(due) - number, READ_AT_ONCE))
                found |= {event.cursor: event for event in page.events}
        return [found[one.cursor] for one in due]

    # Sending

    @property
    def _may_try_new(self) -> bool:
        return not self._is_full and not (self.is_down and self._has_waiting)

    def _fill(self) -> None:
        """Send until no place is free."""
        free = 0 if self._is_ending or self.is_gone else self.places - len(self._tasks)
        ready = self._hand.ready(may_try_new=self._may_try_new)
        for _, one in zip(range(free), ready, strict=False):
            one.sent_at_s = time.monotonic()
            task = asyncio.create_task(self._deliver(one))
            self._tasks.add(task)
            task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._bug = self._bug or task.exception()
            self._answered += 1
            self._fill()
        if self._has_news:
            self._news.set()

    @property
    def _has_places(self) -> bool:
        """Whether more could be on its way."""
        return len(self._tasks) < self.places

    @property
    def _has_news(self) -> bool:
        """Whether enough was answered, or there is nothing more to send."""
        worth_it = self._answered >= RECORDED_AT_ONCE or (self._answered > 0 and not self._hand.has_unsent)
        return worth_it or not self._tasks or self._bug is not None

    async def _until_news(self, most_s: float) -> None:
        """Until there are news, or it is time to look again."""
        self._news.clear()
        if not self._has_news:
            with suppress(TimeoutError):
                async with asyncio.timeout(most_s):
                    await self._news.wait()
        if self._bug is not None:
            raise self._bug

    async def _deliver(self, one: InHand) -> None:
        """Send one event, and note how that went."""
        event, number = one.event, one.number
        body = json.dumps(event.document(), ensure_ascii=False, separators=(",", ":"))
        started_at, began = self._now(), time.monotonic()
        sent = await self._sender.send(self.endpoint.url, event.event_id, body, self.secrets)
        attempt = Attempt(
            self.endpoint.endpoint_id,
            event.event_id,
            event.type.value,
            event.cursor,
            number,
            self.endpoint.url,
            started_at,
            round(1_000 * (time.monotonic() - began)),
            sent.status,
            sent.answer,
            sent.retry_after_s,
        )
        one.attempt = attempt
        self._failures = 0 if attempt.is_delivered else self._failures + 1
        self._was_down = self._was_down or self.is_down
        self._has_waiting = self._has_waiting or not attempt.is_delivered
        self.is_gone = self.is_gone or attempt.is_gone

    # Recording

    async def _record(self) -> bool:
        """Write what became of messages; whether there was anything to write."""
        self._answered = 0
        found = self._hand.to_record(self._now(), time.monotonic(), self._jitter, has_places=self._has_places)
        if found:
            await asyncio.to_thread(
                self._ledger.record, self.endpoint, found.attempts, found.delivered, found.waiting, found.cursor
            )
        if self._was_down and self._failures == 0:
            self._was_down = False
            await asyncio.to_thread(self._ledger.hasten, self.endpoint.endpoint_id)
        return bool(found)
