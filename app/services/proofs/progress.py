"""How far a run is: told to the ledger about every second, for people who wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from app.domain.errors import Fault

if TYPE_CHECKING:
    from app.domain.breaks import ProofReport
    from app.services.proofs.chain_verification import Pace

TOLD_EVERY_S = 1.0
"""Short for somebody who watches, and long beside the statement that it takes."""

T = TypeVar("T")


class RunProgress:
    """What the run under way has checked so far. Steps of it may be done in two threads."""

    def __init__(self, note: Callable[[int, Mapping[str, int]], None], monotonic: Callable[[], float]) -> None:
        """`note` keeps what a run has checked so far."""
        self._note = note
        self._monotonic = monotonic
        self._run_id: int | None = None
        self._reports: Sequence[ProofReport] = ()
        self._told_at = 0.0
        self._telling = Lock()

    def begin(self, run_id: int, reports: Sequence[ProofReport]) -> None:
        """A run has begun, which counts into these reports."""
        self._reports, self._told_at, self._run_id = reports, self._monotonic(), run_id

    def end(self) -> None:
        """It tells by itself what it has checked."""
        self._run_id = None

    def step(self) -> None:
        """A step is done. A progress that cannot be told keeps no run from going on."""
        run_id = self._run_id
        if run_id is None or self._monotonic() - self._told_at < TOLD_EVERY_S or not self._telling.acquire(False):
            return
        try:
            self._told_at = self._monotonic()
            checked: Counter[str] = Counter()
            for report in self._reports:
                checked.update(dict(report.checked))
            with suppress(Fault):
                self._note(run_id, checked)
        finally:
            self._telling.release()


class ToldPace:
    """A pace that tells after each step."""

    def __init__(self, pace: Pace, progress: RunProgress) -> None:
        self._pace = pace
        self._progress = progress

    @property
    def most(self) -> int:
        """Transactions in one step."""
        return self._pace.most

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The same steps, at the same pace."""
        for step in self._pace.steps(steps):
            yield step
            self._progress.step()

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do both as the pace does."""
        return self._pace.both(work, other)
