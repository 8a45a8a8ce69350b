"""Coalescing: callers in several threads share one round trip, to the cache or to the ledger.

A round trip has costs of its own: system calls, thread switches, and the cache's wait for its disk. Callers that share
it share these costs. If no call is in flight, a caller sends its own request immediately, so nobody waits for company.
Requests that arrive during a call queue up. When it ends, the first of them makes the next call for all in the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from app.domain.errors import Fault, OutcomeUnknown
from app.domain.reservations import EarlierClaims, ReserveItem, ReserveReply, Stale

if TYPE_CHECKING:
    from app.cache.cache import Cache


PAYMENTS_PER_CALL = 100
"""A script blocks the server: this many payments keep a call near a millisecond."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class _Caller(Generic[Request, Answer]):
    """One caller in the queue: its request, and its answer once there is one."""

    __slots__ = ("_bell", "answer", "error", "leads", "request")

    answer: Answer

    def __init__(self, request: Request, *, leads: bool) -> None:
        self.request = request
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


class Coalescer(Generic[Request, Answer]):
    """Turns the requests of many threads into fewer calls, one at a time, in the order of arrival.

    A fault goes to every caller that shared the call. Any other error is a defect that a single request may have
    caused. So each request is then repeated by itself, and only the one at fault gets the error. `call` must therefore
    be safe to repeat.
    """

    def __init__(
        self,
        call: Callable[[list[Request]], Sequence[Answer]],
        together: Callable[[Request, Request], bool],
        *,
        most: int,
    ) -> None:
        """`call` takes up to `most` requests and returns one answer for each.

        A request joins a call only if it may go `together` with the call's first one.
        """
        self._call = call
        self._together = together
        self._most = most
        self._lock = Lock()
        self._queue: deque[_Caller[Request, Answer]] = deque()
        self._is_led = False

    @property
    def waiting(self) -> int:
        """How many callers wait for a later call than the one in flight."""
        return len(self._queue)

    def ask(self, request: Request) -> Answer:
        """The answer to a request, which may share its call with others; raises what the call raised."""
        with self._lock:
            caller: _Caller[Request, Answer] = _Caller(request, leads=not self._is_led)
            self._is_led = True
            self._queue.append(caller)
        if not caller.leads:
            caller.wait()
        if caller.leads:
            self._lead()
        return caller.result()

    def _lead(self) -> None:
        callers = self._next()
        try:
            self._serve(callers)
        finally:
            self._hand_over()
            for caller in callers[1:]:
                caller.ring()

    def _next(self) -> list[_Caller[Request, Answer]]:
        """The callers that share the next call; the first is its leader."""
        with self._lock:
            callers = [self._queue.popleft()]
            first = callers[0].request
            while self._queue and len(callers) < self._most and self._together(first, self._queue[0].request):
                callers.append(self._queue.popleft())
            return callers

    def _serve(self, callers: list[_Caller[Request, Answer]]) -> None:
        """Make one call for these callers, and note its answers or its error."""
        try:
            answers = self._call([caller.request for caller in callers])
            for caller, answer in zip(callers, answers, strict=True):
                caller.answer = answer
        except Exception as error:
            if len(callers) > 1 and not isinstance(error, Fault):
                for caller in callers:
                    self._serve([caller])
                return
            for caller in callers:
                caller.error = error

    def _hand_over(self) -> None:
        """Let the first caller in the queue lead the next call."""
        with self._lock:
            self._is_led = bool(self._queue)
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].ring()


@dataclass(slots=True)
class _SinglePayment:
    """One payment to decide, checked against this version of the directory."""

    partition: int
    item: ReserveItem
    directory_version: int


class CoalescedReserve:
    """`Reservations.reserve` for single payments; those of many threads share a round trip."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._coalescer = Coalescer(self._decide, _share_a_directory_version, most=PAYMENTS_PER_CALL)

    @property
    def waiting(self) -> int:
        """How many payments wait for a later call than the one in flight."""
        return self._coalescer.waiting

    def reserve(
        self, partition: int, item: ReserveItem, directory_version: int
    ) -> tuple[ReserveReply | Stale, EarlierClaims]:
        """Decide one payment; also returns the claims of its external id that another partition made before."""
        return self._coalescer.ask(_SinglePayment(partition, item, directory_version))

    def _decide(self, singles: list[_SinglePayment]) -> list[tuple[ReserveReply | Stale, EarlierClaims]]:
        by_partition: dict[int, list[int]] = {}
        for index, single in enumerate(singles):
            by_partition.setdefault(single.partition, []).append(index)
        groups = [(partition, [singles[n].item for n in members]) for partition, members in by_partition.items()]
        replies, elsewhere = self._cache.reservations.reserve(groups, singles[0].directory_version)
        answers: dict[int, ReserveReply | Stale] = {}
        for members, reply in zip(by_partition.values(), replies, strict=True):
            answers.update(zip(members, _parts(reply, len(members)), strict=True))
        return [(answers[index], elsewhere) for index in range(len(singles))]


def _share_a_directory_version(one: _SinglePayment, other: _SinglePayment) -> bool:
    """Whether two payments may share a call: a call names one directory version, so both must be checked against it."""
    return one.directory_version == other.directory_version


def _parts(reply: ReserveReply | Stale, count: int) -> list[ReserveReply | Stale]:
    """A group's reply, split into one for each member; only the first asks to wake a drain."""
    if not isinstance(reply, ReserveReply):
        return [reply] * count
    return [ReserveReply(reply.wake and n == 0, [decision]) for n, decision in enumerate(reply.decisions)]


class CoalescedLookUp(Generic[Answer]):
    """A look-up of accounts; the look-ups of many threads share a query."""

    def __init__(self, look_up: Callable[[list[str]], dict[str, Answer]]) -> None:
        self._look_up = look_up
        self._coalescer = Coalescer(self._look_up_together, lambda _one, _other: True, most=PAYMENTS_PER_CALL)

    @property
    def waiting(self) -> int:
        """How many callers wait for a later query than the one in flight."""
        return self._coalescer.waiting

    def ask(self, account_ids: Sequence[str]) -> dict[str, Answer]:
        """What is known of these accounts, and of those that others asked for at the same time."""
        return self._coalescer.ask(account_ids)

    def _look_up_together(self, requests: list[Sequence[str]]) -> list[dict[str, Answer]]:
        found = self._look_up(list(dict.fromkeys(account_id for asked in requests for account_id in asked)))
        return [found] * len(requests)
