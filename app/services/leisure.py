"""How a proof goes through its steps: at once, or resting between them where payments go on beside it.

Reading what ten seconds of payments have left keeps Postgres and a worker at work for some tenths of a second. In one
piece, that was the time in which most of the slow answers fell.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

REST = 3.0
"""Rest so many times as long as the step took: a proof takes a quarter of one core."""

LONGEST_REST_S = 0.03
"""A step is a statement of some milliseconds. After a long one a proof rests no longer, lest it never ends."""

TRANSACTIONS_A_STEP = 500
"""Hashed by the database within a few milliseconds."""

T = TypeVar("T")


class Pace(Protocol):
    """A way through the steps of a proof."""

    @property
    def most(self) -> int:
        """Transactions in one step."""

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The same steps, each at its time."""

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do both, which do not meet; returns what the other one does."""


class AtOnce:
    """One step after the other, and on two connections beside each other."""

    most = sys.maxsize

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The steps."""
        return iter(steps)

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do the other one in a thread: the work is the database's, so threads are enough."""
        with ThreadPoolExecutor(1) as beside:
            result = beside.submit(other)
            work()
            return result.result()


class Leisure:
    """Short steps with a rest behind each, on one connection at a time."""

    most = TRANSACTIONS_A_STEP

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._monotonic = monotonic
        self._sleep = sleep

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The steps, with rests."""
        for step in steps:
            began = self._monotonic()
            yield step
            self._sleep(min(REST * (self._monotonic() - began), LONGEST_REST_S))

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do one after the other."""
        work()
        return other()


AT_ONCE = AtOnce()
