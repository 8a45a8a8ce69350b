"""Contention: an account that is locked is tried again after growing, bounded, jittered delays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.posting.contention import FIRST_DELAY_S, LONGEST_DELAY_S, RETRIES, Contention, backoff_s
from tests.world import StepClock


@given(st.integers(0, 60), st.floats(0, 1))
def test_a_delay_is_never_negative_and_never_longer_than_the_longest(attempt: int, jitter: float) -> None:
    assert 0 <= backoff_s(attempt, jitter) <= LONGEST_DELAY_S


def test_without_jitter_delays_double_up_to_the_longest() -> None:
    delays = [backoff_s(attempt, 1.0) for attempt in range(8)]
    assert delays[:3] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S


@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
def test_jitter_scales_the_delay(jitter: float) -> None:
    assert backoff_s(3, jitter) == pytest.approx(jitter * backoff_s(3, 1.0))


def test_a_locked_account_waits_until_its_delay_is_over() -> None:
    clock = StepClock()
    contention = Contention(clock, lambda: 1.0)
    assert contention.note(["hot"]) == set()
    assert contention.waiting() == {"hot"}
    clock.now += backoff_s(1, 1.0)
    assert contention.waiting() == set()


def test_after_the_last_try_the_account_is_named_exhausted_once_and_is_counted_from_zero() -> None:
    clock = StepClock()
    contention = Contention(clock, lambda: 1.0)
    rounds = [contention.note(["hot"]) for _ in range(2 * RETRIES)]
    assert [n + 1 for n, exhausted in enumerate(rounds) if exhausted] == [RETRIES, 2 * RETRIES]


def test_an_account_that_could_be_locked_is_forgotten() -> None:
    contention = Contention(StepClock(), lambda: 1.0)
    for _ in range(RETRIES - 1):
        contention.note(["hot", "other"])
    contention.clear(["hot"])
    assert contention.waiting() == {"other"}
    assert contention.note(["hot"]) == set()


def test_how_long_an_account_was_waited_for_is_known_once_it_is_free() -> None:
    clock = StepClock()
    contention = Contention(clock, lambda: 1.0)
    contention.note(["hot"])
    contention.note_conflict(["hot", "warm"])
    assert contention.waiting() == {"hot"}, "a conflict alone keeps nobody waiting"
    clock.now += 0.5
    contention.note(["hot"])
    clock.now += 1.0
    contention.clear(["hot", "cold"])
    assert contention.take_ended() == {"hot": 1.5}
    assert contention.take_ended() == {}
