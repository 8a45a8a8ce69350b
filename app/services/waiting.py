"""The durable wait: requests that want to know what the books say, woken by one subscriber a process."""

from threading import Lock

from app.domain.partitions import PaymentPosition, position_order
from app.domain.settlement import Notice
from app.services.heard import Answer, Heard, news_of
from app.services.ports.funds import PendingFunds


class Ticket:
    """One request's place in the waiting room."""

    __slots__ = ("_bell", "answer", "order", "place")

    def __init__(self, place: PaymentPosition) -> None:
        self.place = place
        self.order = position_order(place.position)
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
        self._heard: dict[int, Heard] = {}
        self._since_ms: int | None = None
        self._count = 0

    def enter(self, place: PaymentPosition) -> Ticket | None:
        """Take a place; None when the room is full, so that waiting never takes the last thread."""
        with self._lock:
            if self._count >= self._capacity:
                return None
            ticket = Ticket(place)
            self._tickets.setdefault(place.partition, set()).add(ticket)
            self._count += 1
            return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back."""
        with self._lock:
            tickets = self._tickets[ticket.place.partition]
            if ticket in tickets:
                tickets.remove(ticket)
                self._count -= 1

    def catch_up(self, ticket: Ticket) -> bool:
        """Tell a ticket what was heard before it came; whether nothing can have been missed."""
        with self._lock:
            heard = self._heard_in(ticket.place.partition)
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

    def _heard_in(self, partition: int) -> Heard | None:
        """What was heard of a partition; None before the process listens."""
        if self._since_ms is not None and partition not in self._heard:
            self._heard[partition] = Heard(self._since_ms)
        return self._heard.get(partition)

    def begin(self, now_ms: int) -> None:
        """Begin to hear, at this time of the cache's clock; news may have been missed, so everybody asks."""
        with self._lock:
            self._since_ms = now_ms
            self._heard.clear()
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.tell(Answer.CHECK)


class BooksWait:
    """Waiting for what the books say of an intent."""

    def __init__(self, funds: PendingFunds, room: WaitingRoom) -> None:
        self._funds = funds
        self.room = room

    def wait(self, place: PaymentPosition, seconds: float) -> Answer | None:
        """Wait up to `seconds` for news of the intent at `place`; None where none came.

        Who has a place hears whatever is said from then on. What was said before is remembered since the process began
        to listen; of an older intent the outbox tells.
        """
        ticket = self.room.enter(place)
        if ticket is None:
            return Answer.FULL
        try:
            if not self.room.catch_up(ticket) and self._funds.pending(place) is None:
                return Answer.CHECK  # answered before we entered
            return ticket.wait(seconds)
        finally:
            self.room.leave(ticket)
