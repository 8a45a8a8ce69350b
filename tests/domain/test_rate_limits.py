"""Rate limits: never more than the burst and what has come free since, and never less."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.rate_limits import LARGEST_BURST, MOST_PER_SECOND, Allowance, RateLimit, allowance
from tests.rate_limits import gcra

SECOND_US = 1_000_000
BEGAN_US = 1_790_000_000_000_000

limits = st.builds(RateLimit, st.integers(1, MOST_PER_SECOND), st.integers(1, 50))
gaps = st.lists(st.one_of(st.just(0), st.integers(0, 2_000), st.integers(0, 5 * SECOND_US)), max_size=60)


def allowed_at(limit: RateLimit, arrivals: list[int]) -> list[int]:
    """When requests were allowed, of those that arrived at these times."""
    full_at: int | None = None
    allowed = []
    for now in arrivals:
        is_allowed, full_at = gcra(limit, full_at, now)
        if is_allowed:
            allowed.append(now)
    return allowed


def arrivals_of(waits: list[int]) -> list[int]:
    now, arrivals = BEGAN_US, []
    for wait in waits:
        now += wait
        arrivals.append(now)
    return arrivals


@given(limits, gaps)
def test_no_span_of_time_sees_more_than_the_burst_and_what_came_free_in_it(limit: RateLimit, waits: list[int]) -> None:
    allowed = allowed_at(limit, arrivals_of(waits))
    for first, begin in enumerate(allowed):
        for last, end in enumerate(allowed[first:], start=first):
            assert last - first + 1 <= limit.burst + (end - begin) // limit.interval_us


@given(limits, st.integers(1, 200))
def test_whoever_keeps_to_the_rate_is_never_refused(limit: RateLimit, requests: int) -> None:
    arrivals = arrivals_of([limit.interval_us] * requests)
    assert allowed_at(limit, arrivals) == arrivals


@given(limits)
def test_the_whole_burst_is_allowed_at_once_and_not_one_more(limit: RateLimit) -> None:
    assert len(allowed_at(limit, [BEGAN_US] * (limit.burst + 5))) == limit.burst


@given(limits, gaps)
def test_what_is_said_to_be_left_is_what_is_left(limit: RateLimit, waits: list[int]) -> None:
    full_at: int | None = None
    for now in arrivals_of(waits):
        is_allowed, full_at = gcra(limit, full_at, now)
        left = allowance(limit, is_allowed=is_allowed, full_at_us=full_at, now_us=now)
        assert left.remaining == immediate(limit, full_at, now)
        assert gcra(limit, full_at, now + left.retry_after_s * SECOND_US)[0]
        if left.retry_after_s:
            assert not gcra(limit, full_at, now)[0]
            assert not gcra(limit, full_at, now + (left.retry_after_s - 1) * SECOND_US)[0]
        assert immediate(limit, full_at, now + left.full_in_s * SECOND_US) == limit.burst


def immediate(limit: RateLimit, full_at: int | None, now: int) -> int:
    """How many requests would be allowed at one time."""
    count = 0
    while True:
        is_allowed, full_at = gcra(limit, full_at, now)
        if not is_allowed:
            return count
        count += 1


@given(st.integers(1, MOST_PER_SECOND), st.integers(1, LARGEST_BURST))
def test_the_interval_is_never_shorter_than_the_limit_and_at_most_a_percent_longer(rate: int, burst: int) -> None:
    limit = RateLimit(rate, burst)
    exact_us = SECOND_US / rate
    assert exact_us <= limit.interval_us <= exact_us * 1.01
    assert burst * limit.interval_us <= limit.window_s * SECOND_US < burst * limit.interval_us + SECOND_US


def test_an_allowance_in_numbers() -> None:
    limit = RateLimit(per_second=10, burst=5)
    after_one = allowance(limit, is_allowed=True, full_at_us=BEGAN_US + 100_000, now_us=BEGAN_US)
    assert after_one == Allowance(is_allowed=True, remaining=4, full_in_s=1, retry_after_s=0)
    refused = allowance(limit, is_allowed=False, full_at_us=BEGAN_US + 500_000, now_us=BEGAN_US)
    assert refused == Allowance(is_allowed=False, remaining=0, full_in_s=1, retry_after_s=1)
