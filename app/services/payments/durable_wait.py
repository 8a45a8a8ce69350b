"""Waiting until the ledger has answered a payment: `Prefer: wait`, captures that are waited for, and refunds.

After each settle a drain publishes a notice: which intents of a partition the ledger has answered, and how. An API
process subscribes to the notices (`app/cache/notifications.py`) and passes them to its `WaitingRoom`. A request that
wants to wait takes a ticket there and sleeps until a notice speaks of its intent. The answer may have been published
before the ticket was taken, so the room also keeps a history of the notices since the subscription began. Only an
intent that is older than the history must be looked up in the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING

from app.domain.payment import OutboxPosition, stream_id_order
from app.domain.settlement import Notice

if TYPE_CHECKING:
    from app.cache.outbox import Outbox


Order = tuple[int, int]
"""A stream id that can be compared: milliseconds of the cache's clock, and a number within them."""

HISTORY_LIMIT = 10_000
"""Single positions that a history keeps. Beyond that it drops them, and requests that wait for them read the outbox."""


class Answer(Enum):
    """What a wait ended with."""

    POSTED = "posted"
    CHECK = "check"
    """Answered in another way, or notices may have been missed: look the payment up."""
    EXHAUSTED = "exhausted"
    """Still pending: the drain has used up its retries in this round."""
    FULL = "full"
    """Did not wait: the waiting room was full."""


class DurableWait:
    """Waits for the ledger's answer to one intent."""

    def __init__(self, outbox: Outbox, room: WaitingRoom) -> None:
        self._outbox = outbox
        self.room = room

    def wait(self, outbox_position: OutboxPosition, seconds: float) -> Answer | None:
        """Wait up to `seconds` for the answer to the intent at a position; None if none came in time."""
        ticket = self.room.enter(outbox_position)
        if ticket is None:
            return Answer.FULL
        try:
            # The ticket comes first: from now on no notice is missed, and what came before is known or looked up.
            if not self.room.catch_up(ticket) and self._outbox.pending(outbox_position) is None:
                return Answer.CHECK
            return ticket.wait(seconds)
        finally:
            self.room.leave(ticket)


class Ticket:
    """One request's place in the waiting room."""

    __slots__ = ("_bell", "answer", "order", "outbox_position")

    def __init__(self, outbox_position: OutboxPosition) -> None:
        self.outbox_position = outbox_position
        self.order = stream_id_order(outbox_position.stream_id)
        self.answer: Answer | None = None
        self._bell = Lock()
        self._bell.acquire()

    def tell(self, answer: Answer) -> None:
        """Wake the waiter with its answer; only the first answer counts."""
        if self.answer is None:
            self.answer = answer
            self._bell.release()

    def wait(self, seconds: float) -> Answer | None:
        """Wait for the answer; None if none came in time."""
        return self.answer if self._bell.acquire(timeout=seconds) else None


class WaitingRoom:
    """All waiting requests of a process, and the notices that it has received."""

    def __init__(self, capacity: int) -> None:
        """`capacity` is how many requests may wait at once. It is below the number of threads, so some stay free."""
        self.capacity = capacity
        self._lock = Lock()
        self._tickets: dict[int, set[Ticket]] = {}
        self._histories: dict[int, NoticeHistory] = {}
        self._subscribed_at_ms: int | None = None
        self._count = 0

    def enter(self, outbox_position: OutboxPosition) -> Ticket | None:
        """Take a ticket; None when the room is full."""
        with self._lock:
            if self._count >= self.capacity:
                return None
            ticket = Ticket(outbox_position)
            self._tickets.setdefault(outbox_position.partition, set()).add(ticket)
            self._count += 1
            return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the ticket back."""
        with self._lock:
            tickets = self._tickets[ticket.outbox_position.partition]
            if ticket in tickets:
                tickets.remove(ticket)
                self._count -= 1

    def catch_up(self, ticket: Ticket) -> bool:
        """Give a ticket the answer that came before it was taken; returns whether no answer can have been missed."""
        with self._lock:
            history = self._history(ticket.outbox_position.partition)
            if history is None or not history.covers(ticket.order):
                return False
            answer = history.answer(ticket.order)
            if answer is not None:
                ticket.tell(answer)
            return True

    def hear(self, notice: Notice) -> None:
        """Keep a notice, and wake the requests that it answers."""
        news = ordered_notice(notice)
        with self._lock:
            history = self._history(notice.partition)
            if history is not None:
                history.add(news)
            for ticket in self._tickets.get(notice.partition, ()):
                answer = news.answer(ticket.order)
                if answer is not None:
                    ticket.tell(answer)

    def begin(self, now_ms: int) -> None:
        """Start the histories at this time of the cache's clock, when a subscription begins.

        Earlier notices may have been missed, so every waiting request looks its payment up.
        """
        with self._lock:
            self._subscribed_at_ms = now_ms
            self._histories.clear()
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.tell(Answer.CHECK)

    def _history(self, partition: int) -> NoticeHistory | None:
        """The notices of a partition; None before the process has subscribed."""
        if self._subscribed_at_ms is not None and partition not in self._histories:
            self._histories[partition] = NoticeHistory(self._subscribed_at_ms)
        return self._histories.get(partition)


class NoticeHistory:
    """What the notices of one partition have said since a moment of the cache's clock, without a gap.

    An intent accepted after that moment is either answered here or pending. Nothing is known of older ones.
    """

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self._all = OrderedNotice((0, 0), set(), set(), set())

    def add(self, news: OrderedNotice) -> None:
        """Add one notice. Exhausted retries are not kept, because the next round tries again."""
        known = self._all
        known.up_to = max(known.up_to, news.up_to)
        known.done = {order for order in known.done | news.done if order > known.up_to}
        known.refused |= news.refused
        if len(known.done) + len(known.refused) > HISTORY_LIMIT:
            self._since_ms = max(known.up_to, *known.done, *known.refused)[0]
            known.done, known.refused = set(), set()

    def covers(self, order: Order) -> bool:
        """Whether an answer to the intent at this position, if there was one, is in this history."""
        return order[0] > self._since_ms

    def answer(self, order: Order) -> Answer | None:
        """The answer to an intent that is covered; None while it is pending."""
        return self._all.answer(order)


@dataclass(slots=True)
class OrderedNotice:
    """A notice with comparable positions. Every position up to `up_to` is answered, and so are those in `done`."""

    up_to: Order
    done: set[Order]
    refused: set[Order]
    exhausted: set[Order]

    def answer(self, order: Order) -> Answer | None:
        """The answer to the intent at a position; None if the notice does not give one."""
        if order in self.exhausted:
            return Answer.EXHAUSTED
        if order > self.up_to and order not in self.done:
            return None
        return Answer.CHECK if order in self.refused else Answer.POSTED


def ordered_notice(notice: Notice) -> OrderedNotice:
    """A notice with comparable positions."""
    up_to = stream_id_order(notice.up_to) if notice.up_to else (0, 0)
    return OrderedNotice(up_to, _orders(notice.done), _orders(notice.refused), _orders(notice.exhausted))


def _orders(stream_ids: Iterable[str]) -> set[Order]:
    return {stream_id_order(stream_id) for stream_id in stream_ids}
