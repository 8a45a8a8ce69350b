"""What a process has heard from the books, so that who comes late need not ask."""

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
"""A position as something to compare: milliseconds of the cache's clock, and a number within them."""

MOST_KEPT = 10_000
"""Single positions kept; beyond it they are forgotten, and who comes late for one of them asks again."""


class Answer(Enum):
    """What a waiter heard."""

    POSTED = "posted"
    CHECK = "check"
    """Answered in some other way, or news may have been missed: look it up."""
    EXHAUSTED = "exhausted"
    """Still pending: the books' retries of this round are used up."""
    FULL = "full"
    """Nobody waited: all places are taken."""


@dataclass(slots=True)
class News:
    """A notice with its positions ready to be compared."""

    up_to: Order
    done: set[Order]
    refused: set[Order]
    exhausted: set[Order]

    def answer(self, order: Order) -> Answer | None:
        """What it says of an intent; None where it says nothing."""
        if order in self.exhausted:
            return Answer.EXHAUSTED
        if order > self.up_to and order not in self.done:
            return None
        return Answer.CHECK if order in self.refused else Answer.POSTED


def news_of(notice: Notice) -> News:
    """A notice made ready."""
    up_to = stream_id_order(notice.up_to) if notice.up_to else (0, 0)
    return News(up_to, _orders(notice.done), _orders(notice.refused), _orders(notice.exhausted))


def _orders(stream_ids: Iterable[str]) -> set[Order]:
    return {stream_id_order(stream_id) for stream_id in stream_ids}


class NoticeHistory:
    """The news of one partition since a moment of the cache's clock, without a gap between them.

    An intent that was accepted after it is either answered by news that was heard, or still waits. Of older ones
    nothing is known.
    """

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self._all = News((0, 0), set(), set(), set())

    def hear(self, news: News) -> None:
        """Remember what was answered."""
        known = self._all
        known.up_to = max(known.up_to, news.up_to)
        known.done = {order for order in known.done | news.done if order > known.up_to}
        known.refused |= news.refused
        if len(known.done) + len(known.refused) > MOST_KEPT:
            self._since_ms = max(known.up_to, *known.done, *known.refused)[0]
            known.done, known.refused = set(), set()

    def covers(self, order: Order) -> bool:
        """Whether every answer to the intent at this position must have been heard, if there was one."""
        return order[0] > self._since_ms

    def answer(self, order: Order) -> Answer | None:
        """What was heard of an intent that is covered; None while it waits."""
        return self._all.answer(order)


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
        """Wake the waiter; whatever it is told later comes too late."""
        if self.answer is None:
            self.answer = answer
            self._bell.release()

    def wait(self, seconds: float) -> Answer | None:
        """Wait for news; None where none came in time."""
        return self.answer if self._bell.acquire(timeout=seconds) else None


class WaitingRoom:
    """All waiters of a process, and what it has heard so far."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._tickets: dict[int, set[Ticket]] = {}
        self._heard: dict[int, NoticeHistory] = {}
        self._since_ms: int | None = None
        self._count = 0

    def enter(self, outbox_position: OutboxPosition) -> Ticket | None:
        """Take a place; None when the room is full, so that waiting never takes the last thread."""
        with self._lock:
            if self._count >= self._capacity:
                return None
            ticket = Ticket(outbox_position)
            self._tickets.setdefault(outbox_position.partition, set()).add(ticket)
            self._count += 1
            return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back."""
        with self._lock:
            tickets = self._tickets[ticket.outbox_position.partition]
            if ticket in tickets:
                tickets.remove(ticket)
                self._count -= 1

    def catch_up(self, ticket: Ticket) -> bool:
        """Tell a ticket what was heard before it came; whether nothing can have been missed."""
        with self._lock:
            heard = self._heard_in(ticket.outbox_position.partition)
            if heard is None or not heard.covers(ticket.order):
                return False
            answer = heard.answer(ticket.order)
            if answer is not None:
                ticket.tell(answer)
            return True

    def hear(self, notice: Notice) -> None:
        """Remember a notice, and wake those whom it concerns."""
        news = news_of(notice)
        with self._lock:
            heard = self._heard_in(notice.partition)
            if heard is not None:
                heard.hear(news)
            for ticket in self._tickets.get(notice.partition, ()):
                answer = news.answer(ticket.order)
                if answer is not None:
                    ticket.tell(answer)

    def _heard_in(self, partition: int) -> NoticeHistory | None:
        """What was heard of a partition; None before the process listens."""
        if self._since_ms is not None and partition not in self._heard:
            self._heard[partition] = NoticeHistory(self._since_ms)
        return self._heard.get(partition)

    def begin(self, now_ms: int) -> None:
        """Begin to hear, at this time of the cache's clock; news may have been missed, so everybody asks."""
        with self._lock:
            self._since_ms = now_ms
            self._heard.clear()
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.tell(Answer.CHECK)


class DurableWait:
    """Waiting for what the books say of an intent."""

    def __init__(self, outbox: Outbox, room: WaitingRoom) -> None:
        self._outbox = outbox
        self.room = room

    def wait(self, outbox_position: OutboxPosition, seconds: float) -> Answer | None:
        """Wait up to `seconds` for news of the intent at `place`; None where none came.

        Who has a place hears whatever is said from then on. What was said before is remembered since the process began
        to listen; of an older intent the outbox tells.
        """
        ticket = self.room.enter(outbox_position)
        if ticket is None:
            return Answer.FULL
        try:
            if not self.room.catch_up(ticket) and self._outbox.pending(outbox_position) is None:
                return Answer.CHECK  # answered before we entered
            return ticket.wait(seconds)
        finally:
            self.room.leave(ticket)
