"""Coalescing: requests of several threads share one round trip, to the cache or to the ledger.

A round trip has costs of its own: system calls, changes of thread, and the cache's wait for its disk. Callers that
share it share them. If no call is in flight, a request sends its own immediately, so nobody waits for company. Requests
that arrive during a call queue up; when it ends, the first of them makes the next call for all that are queued.
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
    """One caller in the queue: what it asks for, and its answer once there is one."""

    __slots__ = ("_bell", "answer", "error", "leads", "wish")

    answer: Answer

    def __init__(self, wish: Wish, *, leads: bool) -> None:
        self.wish = wish
        self.leads = leads
        self.error: BaseException | None = None
        self._bell = Lock()
        self._bell.acquire()

    def wait(self) -> None:
        """Wait until there is an answer, or until this caller has to make the next call."""
        self._bell.acquire()

    def ring(self) -> None:
        """End the wait."""
        self._bell.release()

    def result(self) -> Answer:
        """The answer; raises what its call raised."""
        if self.error is not None:
            raise self.error
        try:
            return self.answer
        except AttributeError:
            raise OutcomeUnknown("the thread that made the shared call ended before it was done") from None


class Coalescer(Generic[Wish, Answer]):
    """Turns requests of many threads into fewer calls, one at a time, in the order of arrival.

    A fault goes to every caller of its call. Any other error is a defect that one request may have caused, so all are
    repeated one by one, and only the caller of that one sees it; `call` must therefore be safe to repeat.
    """

    def __init__(
        self, call: Callable[[list[Wish]], Sequence[Answer]], together: Callable[[Wish, Wish], bool], *, most: int
    ) -> None:
        """`call` takes up to `most` wishes and gives one answer for each.

        A wish joins a call only where it goes `together` with the first one.
        """
        self._call = call
        self._together = together
        self._most = most
        self._lock = Lock()
        self._queue: deque[_Turn[Wish, Answer]] = deque()
        self._is_led = False

    @property
    def waiting(self) -> int:
        """How many callers wait for a later call than the one in flight."""
        return len(self._queue)

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
    """One payment to decide, checked against this version of the directory."""

    partition: int
    item: ReserveItem
    directory_version: int


class CoalescedReserve:
    """`Reservations.reserve` for single payments, those of many threads in one round trip."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._coalescer = Coalescer(self._decide, _know_the_same, most=PAYMENTS_PER_CALL)

    @property
    def waiting(self) -> int:
        """How many payments wait for a later call than the one in flight."""
        return self._coalescer.waiting

    def reserve(
        self, partition: int, item: ReserveItem, directory_version: int
    ) -> tuple[ReserveReply | Stale, Elsewhere]:
        """Decide one payment; also returns the claims of its external id that another partition made before."""
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
    """A group's reply, split into one for each member; only the first asks to wake a drain."""
    if not isinstance(reply, ReserveReply):
        return [reply] * count
    return [ReserveReply(reply.wake and n == 0, [decision]) for n, decision in enumerate(reply.decisions)]


class CoalescedLookUp(Generic[Answer]):
    """A look-up of accounts, those of many threads in one query."""

    def __init__(self, look_up: Callable[[list[str]], dict[str, Answer]]) -> None:
        self._look_up = look_up
        self._coalescer = Coalescer(self._together, lambda _one, _other: True, most=PAYMENTS_PER_CALL)

    @property
    def waiting(self) -> int:
        """How many callers wait for a later query than the one in flight."""
        return self._coalescer.waiting

    def ask(self, account_ids: Sequence[str]) -> dict[str, Answer]:
        """What there is of these accounts, and of those that others asked for at the same time."""
        return self._coalescer.ask(account_ids)

    def _together(self, wishes: list[Sequence[str]]) -> list[dict[str, Answer]]:
        found = self._look_up(list(dict.fromkeys(account_id for wish in wishes for account_id in wish)))
        return [found] * len(wishes)
