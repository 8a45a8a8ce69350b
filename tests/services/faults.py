"""Wrappers of the real cache or ledger that, at a chosen moment, crash, act differently, or let a test act first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.cache.cache import Cache
from app.ledger.posting_session import PostingSession

Hook = Callable[[], object]


def is_part_of_cache(found: Any) -> bool:
    """Whether it is one of the parts that a cache is composed of."""
    return type(found).__module__.startswith("app.cache.") and not callable(found)


class Crashed(Exception):
    """Ends a process at a chosen step."""


class CrashPoints:
    """Counts the steps of a process and crashes it at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.passed: list[str] = []

    def step(self, name: str) -> None:
        """Pass a point, or crash there."""
        self.passed.append(name)
        if len(self.passed) == self._at:
            raise Crashed(name)

    def around(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with a point before and after it."""

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            result = act(*args, **kwargs)
            self.step(f"after {name}")
            return result

        return stepped


class Replaceable:
    """A cache or a ledger that a test can replace at any time."""

    def __init__(self, present: Any) -> None:
        self.present = present

    def __getattr__(self, name: str) -> Any:
        return getattr(self.present, name)


class Stepped:
    """Any port, with points around each of the named calls."""

    def __init__(self, port: Any, points: CrashPoints, names: Sequence[str]) -> None:
        self._port, self._points, self._names = port, points, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in self._names:
            return self._points.around(name, found)
        return Stepped(found, self._points, self._names) if is_part_of_cache(found) else found


class SteppedSession:
    """The ledger of a drain, with points around everything, the commit included."""

    def __init__(self, ledger: PostingSession, points: CrashPoints) -> None:
        self._ledger, self._points = ledger, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @contextmanager
    def draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        with self._ledger.draining(partitions) as held:
            self._points.step("after draining")
            yield held
        self._points.step("after undraining")

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Any]:
        self._points.step("before begin")
        with self._ledger.posting(partitions) as posting:
            yield Stepped(posting, self._points, POSTING_CALLS)
            self._points.step("before commit")
        self._points.step("after commit")

    def post(self, plan: Any) -> None:
        self._points.around("post", self._ledger.post)(plan)


POSTING_CALLS = ("known_outcomes", "lock_balances", "posting_time", "write")
CACHE_CALLS = ("backlog", "read_many", "settle_all", "announce")


def stepped_cache(cache: Cache, points: CrashPoints) -> Any:
    """The cache of a drain, with points around its calls and around each round trip of its scripts."""
    cache.client.run = points.around("scripts", cache.client.run)  # type: ignore[method-assign]
    return Stepped(cache, points, CACHE_CALLS)


class InterruptedSession:
    """The ledger of a drain. A hook runs inside each locked posting, after its snapshot was taken, and before each
    optimistic one.
    """

    def __init__(self, ledger: PostingSession, hook: Hook) -> None:
        self._ledger, self._hook = ledger, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Any]:
        with self._ledger.posting(partitions) as posting:
            self._hook()
            yield posting

    def post(self, plan: Any) -> None:
        self._hook()
        self._ledger.post(plan)


class Overridden:
    """A cache or a ledger in which some calls are replaced."""

    def __init__(self, port: Any, **calls: Callable[..., Any]) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Any:
        if name in self._calls:
            return self._calls[name]
        found = getattr(self._port, name)
        return Overridden(found, **self._calls) if is_part_of_cache(found) else found


def with_backlog_of(cache: Any, partitions: set[int]) -> Any:
    """A cache that shows a drain only some partitions' backlog."""

    def backlog() -> dict[int, int]:
        return {partition: n for partition, n in cache.outbox.backlog().items() if partition in partitions}

    return Overridden(cache, backlog=backlog)


class Hooked:
    """Any port; hooks run once before or after the named call, on the port itself or on one of its parts."""

    def __init__(self, port: Any, name: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
        self._port, self._name, self._before, self._after = port, name, before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name == self._name:
            return self.around(found)
        return _HookedPart(found, self, self._name) if is_part_of_cache(found) else found

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """The call with its hooks, each of which runs once."""

        def hooked(*args: Any, **kwargs: Any) -> Any:
            before, self._before = self._before, None
            if before:
                before()
            result = act(*args, **kwargs)
            after, self._after = self._after, None
            if after:
                after()
            return result

        return hooked


class _HookedPart:
    """A part of a hooked port."""

    def __init__(self, part: Any, hooks: Hooked, name: str) -> None:
        self._part, self._hooks, self._name = part, hooks, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._hooks.around(found) if name == self._name else found
