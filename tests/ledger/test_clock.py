"""The ledger's time, estimated between its answers."""

from datetime import timedelta

from app.ledger.posting_session import LedgerClock
from tests.builders import NOON
from tests.world import StepClock


def test_the_clock_continues_from_the_time_that_the_ledger_told() -> None:
    monotonic = StepClock()
    clock = LedgerClock(monotonic)
    clock.set(NOON)
    monotonic.now += 1.5
    assert clock.now() == NOON + timedelta(seconds=1.5)


def test_the_quicker_of_two_answers_counts_so_that_the_clock_is_never_ahead_of_the_ledger() -> None:
    monotonic = StepClock()
    clock = LedgerClock(monotonic)
    clock.set(NOON)
    monotonic.now += 1.0
    clock.hear(NOON + timedelta(seconds=0.9))  # given at once, received late
    assert clock.now() == NOON + timedelta(seconds=1.0)
    clock.hear(NOON + timedelta(seconds=1.1))
    assert clock.now() == NOON + timedelta(seconds=1.1)


def test_a_clock_that_was_set_back_is_followed_from_the_next_turn_on() -> None:
    clock = LedgerClock(StepClock())
    clock.set(NOON)
    clock.set(NOON - timedelta(hours=1))
    assert clock.now() == NOON - timedelta(hours=1)
