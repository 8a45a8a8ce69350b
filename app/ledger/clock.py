"""The books' time, known without asking for it."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta


class BooksClock:
    """Reckons the database's time from what it has said, by this process's monotonic clock.

    An answer is heard after it was given, so the reckoned time is never ahead of the database's, and behind it by no
    more than the quickest answer took. Setting the database's clock is noticed by the next `set`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: datetime | None = None

    def set(self, said: datetime) -> None:
        """Begin anew from what the database has just said."""
        self._began = self._beginning(said)

    def hear(self, said: datetime) -> None:
        """Believe what the database has just said, if it came more quickly than what was said before."""
        beginning = self._beginning(said)
        self._began = beginning if self._began is None else max(self._began, beginning)

    def now(self) -> datetime:
        """The database's time; `set` must have been called."""
        assert self._began is not None
        return self._began + timedelta(seconds=self._monotonic())

    def _beginning(self, said: datetime) -> datetime:
        """What the database's clock showed when the monotonic one was at zero."""
        return said - timedelta(seconds=self._monotonic())
