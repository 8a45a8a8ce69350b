"""Single payments that come while others are being decided go together into the next round trip to the cache.

So do look-ups of accounts in the books.

A round trip has costs of its own: system calls, changes of thread, and the cache's wait for its disk. Those who share
it share them. Nobody waits for company: whoever finds nobody at work calls at once. That thread leads; those who come
meanwhile queue up, and when it is done the first of them leads the next call, for all who stand there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from app.domain.errors import Fault, OutcomeUnknown
from app.domain.reservations import Elsewhere, ReserveItem, ReserveReply, Stale

if TYPE_CHECKING:
    from app.cache.cache import Cache


PAYMENTS_PER_CALL = 100
"""A script blocks the server: this many payments keep a call near a millisecond."""

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class _Turn(Generic[Wish, Answer]):
    """One caller's place in the queue."""

    __slots__ = ("_bell", "answer", "error", "leads", "wish")

    answer: Answer

    def __init__(self, wish: Wish, *, leads: bool) -> None:
        self.wish = wish
        self.leads = leads
        self.error: BaseException | None = None
        self._bell = Lock()
        self._bell.acquire()

    def wait(self) -> None:
        """Wait until this turn is answered, or has to lead."""
        self._bell.acquire()

    def ring(self) -> None:
        """End the wait."""
        self._bell.release()

    def result(self) -> Answer:
        """The answer; raises what went wrong instead."""
        if self.error is not None:
            raise self.error
        try:
            return self.answer
        except AttributeError:
            raise OutcomeUnknown("the thread that asked for several ended before it was done") from None


class Coalescer(Generic[Wish, Answer]):
    """Turns calls of many threads into fewer calls for several of them, one at a time, in the order of their coming.

    A fault is told to everybody in its call. Any other error is a defect that one of them may have caused, so all are
    called again one by one, and only its own caller sees it; `call` must therefore be safe to repeat.
    """

    def __init__(
        self, call: Callable[[list[Wish]], Sequence[Answer]], together: Callable[[Wish, Wish], bool], *, most: int
    ) -> None:
        """`call` gives one answer a wish; wishes that are not `together` with the first of a call wait for another."""
        self._call = call
        self._together = together
        self._most = most
        self._lock = Lock()
        self._queue: deque[_Turn[Wish, Answer]] = deque()
        self._is_led = False

    def ask(self, wish: Wish) -> Answer:
        """The answer to one wish, given alone or together with others."""
        with self._lock:
            turn: _Turn[Wish, Answer] = _Turn(wish, leads=not self._is_led)
            self._is_led = True
            self._queue.append(turn)
        if not turn.leads:
            turn.wait()
        if turn.leads:
            self._lead()
        return turn.result()

    def _lead(self) -> None:
        turns = self._next()
        try:
            self._serve(turns)
        finally:
            self._hand_over()
            for turn in turns[1:]:
                turn.ring()

    def _next(self) -> list[_Turn[Wish, Answer]]:
        """The turns of the next call; the first is the leader's own."""
        with self._lock:
            turns = [self._queue.popleft()]
            while self._queue and len(turns) < self._most and self._together(turns[0].wish, self._queue[0].wish):
                turns.append(self._queue.popleft())
            return turns

    def _serve(self, turns: list[_Turn[Wish, Answer]]) -> None:
        try:
            answers = self._call([turn.wish for turn in turns])
            for turn, answer in zip(turns, answers, strict=True):
                turn.answer = answer
        except Exception as error:
            if len(turns) > 1 and not isinstance(error, Fault):
                for turn in turns:
                    self._serve([turn])
                return
            for turn in turns:
                turn.error = error

    def _hand_over(self) -> None:
        with self._lock:
            self._is_led = bool(self._queue)
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].ring()


@dataclass(slots=True)
class _Single:
    """One payment to decide, by a caller that knows the directory in this version."""

    partition: int
    item: ReserveItem
    directory_version: int


class CoalescedReserve:
    """`Cache.reserve` for single payments, those of many threads combined."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._coalescer = Coalescer(self._decide, _know_the_same, most=PAYMENTS_PER_CALL)

    def reserve(
        self, partition: int, item: ReserveItem, directory_version: int
    ) -> tuple[ReserveReply | Stale, Elsewhere]:
        """As `Cache.reserve`, for one payment."""
        return self._coalescer.ask(_Single(partition, item, directory_version))

    def _decide(self, singles: list[_Single]) -> list[tuple[ReserveReply | Stale, Elsewhere]]:
        by_partition: dict[int, list[int]] = {}
        for index, single in enumerate(singles):
            by_partition.setdefault(single.partition, []).append(index)
        groups = [(partition, [singles[n].item for n in members]) for partition, members in by_partition.items()]
        replies, elsewhere = self._cache.reservations.reserve(groups, singles[0].directory_version)
        answers: dict[int, ReserveReply | Stale] = {}
        for members, reply in zip(by_partition.values(), replies, strict=True):
            answers.update(zip(members, _parts(reply, len(members)), strict=True))
        return [(answers[index], elsewhere) for index in range(len(singles))]


def _know_the_same(one: _Single, other: _Single) -> bool:
    """Whether two payments were checked against the same directory, for a call names one version of it."""
    return one.directory_version == other.directory_version


def _parts(reply: ReserveReply | Stale, count: int) -> list[ReserveReply | Stale]:
    """A group's reply as one of each member; the first alone is asked to wake a drain."""
    if not isinstance(reply, ReserveReply):
        return [reply] * count
    return [ReserveReply(reply.wake and n == 0, [decision]) for n, decision in enumerate(reply.decisions)]


class CoalescedLookUp(Generic[Answer]):
    """A look-up by account, with those of many threads combined."""

    def __init__(self, look_up: Callable[[list[str]], dict[str, Answer]]) -> None:
        self._look_up = look_up
        self._coalescer = Coalescer(self._together, lambda _one, _other: True, most=PAYMENTS_PER_CALL)

    def ask(self, account_ids: Sequence[str]) -> dict[str, Answer]:
        """What there is of these accounts, and of those that others asked for at the same time."""
        return self._coalescer.ask(account_ids)

    def _together(self, wishes: list[Sequence[str]]) -> list[dict[str, Answer]]:
        found = self._look_up(list(dict.fromkeys(account_id for wish in wishes for account_id in wish)))
        return [found] * len(wishes)
