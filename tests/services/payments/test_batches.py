"""Large batches wait while the backlog is large, before any of their payments is decided."""

from typing import Any

import pytest

from app.domain.errors import CacheUnavailable
from app.services.payments.batches import (
    HARMLESS_BACKLOG,
    LARGE,
    LONGEST_S,
    MOST_WAITING,
    STEP_S,
    Batches,
    Pacing,
    Patience,
    wait_s,
)


@pytest.mark.parametrize(
    ("backlog", "seconds"),
    [
        (0, 0.0),
        (HARMLESS_BACKLOG, 0.0),
        (2 * HARMLESS_BACKLOG, STEP_S),
        (4 * HARMLESS_BACKLOG, 3 * STEP_S),
        (10_000 * HARMLESS_BACKLOG, LONGEST_S),
    ],
)
def test_a_batch_waits_longer_the_larger_the_backlog_is_up_to_a_bound(backlog: int, seconds: float) -> None:
    assert wait_s(backlog) == pytest.approx(seconds)


def test_a_small_batch_does_not_look_at_the_backlog() -> None:
    def look() -> dict[int, int]:
        raise AssertionError

    Pacing(look, lambda _: None).give_way(LARGE - 1)


def test_the_backlog_of_all_partitions_counts() -> None:
    slept: list[float] = []
    Pacing(lambda: {0: HARMLESS_BACKLOG, 1: 0, 7: HARMLESS_BACKLOG}, slept.append).give_way(LARGE)
    assert slept == [pytest.approx(STEP_S)]


def test_only_a_bounded_number_of_batches_waits_at_once() -> None:
    slept: list[float] = []

    def asleep(seconds: float) -> None:
        """Another batch comes while this one waits."""
        slept.append(seconds)
        if len(slept) <= 2 * MOST_WAITING:
            pacing.give_way(LARGE)

    pacing = Pacing(lambda: {0: 2 * HARMLESS_BACKLOG}, asleep)
    pacing.give_way(LARGE)
    assert len(slept) == MOST_WAITING
    pacing.give_way(LARGE)
    assert len(slept) == 2 * MOST_WAITING, "places are given back"


def test_a_waiting_place_is_freed_when_the_cache_does_not_answer() -> None:
    def unreachable() -> dict[int, int]:
        raise CacheUnavailable("gone")

    pacing = Pacing(unreachable, lambda _: None)
    for _ in range(MOST_WAITING + 1):
        with pytest.raises(CacheUnavailable):
            pacing.give_way(LARGE)


class Noting:
    """Payments that note when they were asked to decide."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def submit(self, requests: Any, _actor: str, **_: Any) -> list[str]:
        self._happened.append("decided")
        return ["one"] * len(requests)


def test_batches_and_streams_wait_before_they_are_decided() -> None:
    happened: list[str] = []
    payments: Any = Noting(happened)
    nothing: Any = None
    pacing = Pacing(lambda: {0: 2 * HARMLESS_BACKLOG}, lambda _: happened.append("waited"))
    batches = Batches(payments, nothing, pacing, sleep=lambda _: None)
    many: Any = ["payment"] * LARGE
    batches.submit(many, "key:test")
    batches.submit_patiently(many, "key:test", Patience())
    assert happened == ["waited", "decided"] * 2
