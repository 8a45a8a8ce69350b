"""What a process has heard from the books, so that who comes late need not ask."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from app.domain.partitions import position_order
from app.domain.settlement import Notice

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
    up_to = position_order(notice.up_to) if notice.up_to else (0, 0)
    return News(up_to, _orders(notice.done), _orders(notice.refused), _orders(notice.exhausted))


def _orders(positions: Iterable[str]) -> set[Order]:
    return {position_order(position) for position in positions}


class Heard:
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
