"""How a proof goes through its steps: at once, or resting between them where payments go on beside it.

Reading what ten seconds of payments have left keeps Postgres and a worker at work for some tenths of a second. In one
piece, that was the time in which most of the slow answers fell.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

REST = 3.0
"""Rest so many times as long as the step took: a proof takes a quarter of one core."""

LONGEST_REST_S = 0.03
"""A step is a statement of some milliseconds. After a long one a proof rests no longer, lest it never ends."""

T = TypeVar("T")


class Pace(Protocol):
    """A way through steps."""

    def __call__(self, steps: Iterable[T], /) -> Iterator[T]: ...


def at_once(steps: Iterable[T], /) -> Iterator[T]:
    """One step after the other."""
    return iter(steps)


@dataclass(slots=True, frozen=True)
class Leisure:
    """A pace with rests."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]

    def __call__(self, steps: Iterable[T], /) -> Iterator[T]:
        """The same steps, with a rest behind each."""
        for step in steps:
            began = self.monotonic()
            yield step
            self.sleep(min(REST * (self.monotonic() - began), LONGEST_REST_S))
