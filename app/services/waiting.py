"""The durable wait: requests that want to know what the books say, woken by one subscriber a process."""

from enum import Enum
from threading import Event, Lock

from app.domain.partitions import PaymentPosition
from app.domain.settlement import Notice
from app.services.ports import PendingFunds


class Answer(Enum):
    """What a waiter heard."""

    POSTED = "posted"
    CHECK = "check"
    """Answered in some other way, or news may have been missed: look it up."""
    EXHAUSTED = "exhausted"
    """Still pending: the books' retries of this round are used up."""
    FULL = "full"
    """Nobody waited: all places are taken."""


class Ticket:
    """One request's place in the waiting room."""

    def __init__(self, place: PaymentPosition) -> None:
        self.place = place
        self._heard = Event()
        self._answer: Answer | None = None

    def tell(self, answer: Answer) -> None:
        """Wake the waiter."""
        self._answer = answer
        self._heard.set()

    def wait(self, seconds: float) -> Answer | None:
        """Wait for news; None where none came in time."""
        return self._answer if self._heard.wait(seconds) else None


class WaitingRoom:
    """All waiters of a process."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._tickets: dict[int, set[Ticket]] = {}
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

    def hear(self, notice: Notice) -> None:
        """Wake those whom a notice concerns."""
        with self._lock:
            for ticket in self._tickets.get(notice.partition, ()):
                position = ticket.place.position
                if position in notice.exhausted:
                    ticket.tell(Answer.EXHAUSTED)
                elif notice.answers(position):
                    ticket.tell(Answer.CHECK if position in notice.refused else Answer.POSTED)

    def wake_all(self) -> None:
        """News may have been missed: everybody looks for themselves."""
        with self._lock:
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.tell(Answer.CHECK)


class BooksWait:
    """Waiting for what the books say of an intent."""

    def __init__(self, funds: PendingFunds, room: WaitingRoom) -> None:
        self._funds = funds
        self.room = room

    def wait(self, place: PaymentPosition, seconds: float) -> Answer | None:
        """Wait up to `seconds` for news of the intent at `place`; None where none came."""
        ticket = self.room.enter(place)
        if ticket is None:
            return Answer.FULL
        try:
            if self._funds.pending(place) is None:
                return Answer.CHECK  # answered before we entered
            return ticket.wait(seconds)
        finally:
            self.room.leave(ticket)
