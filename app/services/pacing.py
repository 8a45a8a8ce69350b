"""Large batches give way while the books are behind.

API and cache decide batches faster than a drain posts them, on cores that it needs itself. Without a brake the backlog
grows to its limit, and then payments are refused, the single ones of a checkout too. So a batch that comes meanwhile
waits before it is decided, the longer the more is pending. Nothing is held back that has been decided.
"""

from collections.abc import Callable, Mapping
from threading import BoundedSemaphore

LARGE = 100
"""Payments: with fewer, the look at the backlog would cost more than they take from the drain."""

EASY = 5_000
"""Intents that may wait without harm: less than a second of a drain's work, and full rounds, which post cheapest."""

STEP_S = 0.1
"""How much longer a batch waits for each further EASY intents that are pending."""

LONGEST_S = 5.0
"""No batch waits longer; a client that gives up by then has moved nothing."""

PLACES = 8
"""Batches that wait in one process at once. Each holds a thread, and single payments need threads too."""


class Pacing:
    """The brake of one process."""

    def __init__(self, backlog: Callable[[], Mapping[int, int]], sleep: Callable[[float], None]) -> None:
        """`backlog` tells the number of pending intents, by partition."""
        self._backlog = backlog
        self._sleep = sleep
        self._places = BoundedSemaphore(PLACES)

    def give_way(self, payments: int) -> None:
        """Wait, before so many payments are decided, for as long as the backlog asks for."""
        if payments < LARGE or not self._places.acquire(blocking=False):
            return
        try:
            delay_s = wait_s(sum(self._backlog().values()))
            if delay_s:
                self._sleep(delay_s)
        finally:
            self._places.release()


def wait_s(backlog: int) -> float:
    """How long a large batch waits while so many intents are pending, in seconds."""
    return min(LONGEST_S, max(0, backlog - EASY) / EASY * STEP_S)
