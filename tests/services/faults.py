"""Ports that do what the real ones do and, at a chosen moment, something else: stop, or let somebody else act first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.funds.gateway import Funds
from app.ledger.posting import PostingBooks

Hook = Callable[[], object]


class Crashed(Exception):
    """The process ended here."""


class CrashPoints:
    """Counts the steps of a process and ends it at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.passed: list[str] = []

    def step(self, name: str) -> None:
        """Pass a point, or end there."""
        self.passed.append(name)
        if len(self.passed) == self._at:
            raise Crashed(name)

    def around(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same act with a point before and behind it."""

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            result = act(*args, **kwargs)
            self.step(f"after {name}")
            return result

        return stepped


class Stepped:
    """Any port, with points around each of the named calls."""

    def __init__(self, port: Any, points: CrashPoints, names: Sequence[str]) -> None:
        self._port, self._points, self._names = port, points, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._points.around(name, found) if name in self._names else found


class SteppedBooks:
    """The books of a drain, with points around everything, the commit included."""

    def __init__(self, books: PostingBooks, points: CrashPoints) -> None:
        self._books, self._points = books, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._books, name)

    @contextmanager
    def draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        with self._books.draining(partitions) as held:
            self._points.step("after draining")
            yield held
        self._points.step("after undraining")

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Any]:
        self._points.step("before begin")
        with self._books.posting(partitions) as posting:
            yield Stepped(posting, self._points, POSTING_CALLS)
            self._points.step("before commit")
        self._points.step("after commit")

    def post(self, plan: Any) -> None:
        self._points.around("post", self._books.post)(plan)


POSTING_CALLS = ("known_outcomes", "lock_balances", "posting_time", "write")
FUNDS_CALLS = ("backlog", "outboxes", "settle_all", "announce")


def stepped_funds(funds: Funds, points: CrashPoints) -> Any:
    """The cache of a drain, with points around its calls and around each round trip of its scripts."""
    funds._run = points.around("scripts", funds._run)  # type: ignore[method-assign]
    return Stepped(funds, points, FUNDS_CALLS)


class InterruptedBooks:
    """The books of a drain; a hook runs inside each posting transaction, after its snapshot was taken.

    Before the whole of one that is posted straight through.
    """

    def __init__(self, books: PostingBooks, hook: Hook) -> None:
        self._books, self._hook = books, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._books, name)

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Any]:
        with self._books.posting(partitions) as posting:
            self._hook()
            yield posting

    def post(self, plan: Any) -> None:
        self._hook()
        self._books.post(plan)


class OnlyPartitions:
    """A cache that shows a drain only some partitions' backlog."""

    def __init__(self, funds: Any, partitions: set[int]) -> None:
        self._funds, self._partitions = funds, partitions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._funds, name)

    def backlog(self) -> dict[int, int]:
        return {partition: n for partition, n in self._funds.backlog().items() if partition in self._partitions}


class Hooked:
    """Any port; hooks run once before or after the named call."""

    def __init__(self, port: Any, name: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
        self._port, self._name, self._before, self._after = port, name, before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name != self._name:
            return found

        def hooked(*args: Any, **kwargs: Any) -> Any:
            before, self._before = self._before, None
            if before:
                before()
            result = found(*args, **kwargs)
            after, self._after = self._after, None
            if after:
                after()
            return result

        return hooked
