"""Keeping the figures of pages at hand: a thread makes them when the first page is opened, and keeps them up to date.

So no page waits for totals over a million accounts, not even the first one. The thread rests while no page is opened.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread

from app.domain.errors import Fault

log = logging.getLogger(__name__)

FRESHENED_EVERY_S = 5.0
"""What is posted meanwhile, even under full load, is read in a tenth of a second."""

RESTS_AFTER_S = 600.0
"""After this time without a page."""


class FreshFigures:
    """Calls what remembers figures, so that it remembers present ones."""

    def __init__(self, readers: Sequence[Callable[[], object]], monotonic: Callable[[], float]) -> None:
        self._readers = readers
        self._monotonic = monotonic
        self._looked_at = monotonic()
        self._asked = Event()
        self._never = Event()
        """Nobody sets it: the thread ends with its process."""

    def note_look(self) -> None:
        """Note that somebody looks at a page."""
        self._looked_at = self._monotonic()
        self._asked.set()

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        Thread(target=self._run, name="figures", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.run_once()
            if self._monotonic() - self._looked_at > RESTS_AFTER_S:
                self._asked.wait()
            self._asked.clear()
            self._never.wait(FRESHENED_EVERY_S)

    def run_once(self) -> None:
        """Read once. If a server does not answer, the next look will tell."""
        for read in self._readers:
            try:
                read()
            except Fault as fault:
                log.info("figures are not brought up to date: %s", fault)
