"""The feed: pages of events, with a wait for new ones.

Nobody tells a reader that something was committed: a message from the posting transaction would make all commits queue.
So a reader at the end looks again, some times a second. Of all that wait in one process only one looks, and the others
hear from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import BoundedSemaphore, Condition, Event, Lock
from typing import TYPE_CHECKING

from app.domain.events import Cursor, EventPage, Wanted, after_all_of

if TYPE_CHECKING:
    from app.ledger.events import EventFeed

LOOK_S = 0.1
"""How often the end is looked at while somebody waits there: a query of some hundred microseconds each time."""

READERS = 24
"""Readers of one process that wait at once, streams among them; each holds a thread, and payments need theirs."""


class CursorAhead(Exception):
    """A cursor after the last event: it is of another ledger, or of a time that this one was restored from."""


class Feed:
    """Events for readers in this process."""

    def __init__(self, ledger: EventFeed, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.ledger = ledger
        self._monotonic = monotonic
        self._looking = Lock()
        self._heard = Condition()
        self._position = 0
        self._places = BoundedSemaphore(READERS)
        self._stopped = Event()

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether the process is about to end."""
        return self._stopped.is_set()

    def end(self) -> Cursor:
        """The cursor after all that is committed by now."""
        return after_all_of(self.ledger.sequence())

    def enter(self) -> bool:
        """Take a place to wait in; False if all are taken. `leave` gives it back."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()

    def page(self, after: Cursor, limit: int, wanted: Wanted, wait_s: float = 0.0) -> EventPage:
        """Up to `limit` events after a cursor; at the end, waits up to `wait_s` for one. Raises CursorAhead.

        Of a reader who wants few, a page may be empty before the end; `is_end` says whether it is worth waiting.
        """
        until = self._monotonic() + wait_s
        found = self.ledger.page(after, limit, wanted)
        if not found.events and found.is_end:
            head = self.ledger.sequence()
            if after.position > head:
                raise CursorAhead
            found = self.ledger.page(found.cursor, limit, wanted)
        while not found.events and found.is_end and self._hears_of_more(found.cursor.position, until):
            found = self.ledger.page(found.cursor, limit, wanted)
        return found

    def _hears_of_more(self, position: int, until: float) -> bool:
        """Wait until there are events after a position; False when the time is up."""
        while self._monotonic() < until and not self._stopped.is_set():
            if self._position > position:
                return True
            if self._looking.acquire(blocking=False):
                try:
                    self._look(position, until)
                finally:
                    self._looking.release()
            else:
                with self._heard:
                    self._heard.wait(LOOK_S)
        return self._position > position

    def _look(self, position: int, until: float) -> None:
        """Look for all who wait, until there is something for this one or its time is up."""
        while self._monotonic() < until and not self._stopped.is_set():
            head = self.ledger.sequence()
            if head > self._position:
                with self._heard:
                    self._position = head
                    self._heard.notify_all()
            if head > position:
                return
            self._stopped.wait(min(LOOK_S, max(0.0, until - self._monotonic())))
