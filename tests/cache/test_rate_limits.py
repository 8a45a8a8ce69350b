"""The script that counts requests decides as the definition does, by the server's clock."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from app.cache import keys
from app.domain.rate_limits import RateLimit, allowance
from tests.cache.world import CacheUnderTest
from tests.rate_limits import gcra

SECOND_US = 1_000_000
RATE = keys.rate(0, "abc")

limits = st.builds(RateLimit, st.integers(1, 10_000), st.one_of(st.integers(1, 20), st.integers(1, 100_000)))
"""Of both kinds: where a few requests fill the burst, and where a burst takes long to come free."""


def take(cache: CacheUnderTest, limit: RateLimit) -> tuple[bool, int, int]:
    """One call of the script: whether it took one, when the burst is free again, now."""
    arguments = [limit.interval_us, limit.burst]
    [(code, full_at, now)] = cache.cache.client.run([(keys.RATE_LIMIT, [RATE], arguments)])
    assert code in ("TAKEN", "LIMITED")
    return code == "TAKEN", full_at, now


def now_us(cache: CacheUnderTest) -> int:
    [(seconds, microseconds)] = cache.cache.client.look([("TIME",)])
    return int(seconds) * SECOND_US + int(microseconds)


def test_the_script_decides_as_the_definition_does(real_cache: CacheUnderTest) -> None:
    cache = real_cache  # the fake's clock goes on while a script runs, so that it may forget a few ms early

    @given(limits, st.none() | st.integers(-10 * SECOND_US, 100 * SECOND_US))
    def decides(limit: RateLimit, ahead_us: int | None) -> None:
        """From any state: none, one that has passed, one within the burst, one beyond it."""
        before = None if ahead_us is None else now_us(cache) + ahead_us
        cache.client.delete(RATE) if before is None else cache.client.set(RATE, before)
        is_taken, full_at, now = take(cache, limit)
        assert (is_taken, full_at) == gcra(limit, before, now)
        if is_taken:
            kept = cache.client.get(RATE)
            assert kept == str(full_at) or (kept is None and now_us(cache) > full_at)
            lives_ms = cache.client.pttl(RATE)
            assert lives_ms <= (full_at - now) // 1000 + 2, "forgotten when it says nothing any more"
        elif before is not None:
            assert cache.client.get(RATE) == str(before), "a refusal writes nothing"

    decides()


def test_a_key_may_use_its_burst_at_once_and_then_waits(cache: CacheUnderTest) -> None:
    limit = RateLimit(per_second=1, burst=5)
    answers = [cache.cache.rate_limits.take("abc", limit) for _ in range(5)]
    assert [one.is_allowed for one in answers] == [True] * 5
    assert [one.remaining for one in answers] == [4, 3, 2, 1, 0]
    refused = cache.cache.rate_limits.take("abc", limit)
    assert (refused.is_allowed, refused.remaining, refused.retry_after_s) == (False, 0, 1)
    assert cache.cache.rate_limits.take("another key", limit).is_allowed


def test_a_clock_that_was_set_back_locks_nobody_out_for_longer_than_a_burst(cache: CacheUnderTest) -> None:
    limit = RateLimit(per_second=1_000, burst=10)
    cache.client.set(RATE, now_us(cache) + 3_600 * SECOND_US)
    is_taken, full_at, now = take(cache, limit)
    assert not is_taken
    left = allowance(limit, is_allowed=False, full_at_us=full_at, now_us=now)
    assert (left.retry_after_s, left.full_in_s) == (1, 1)


def test_callers_at_the_same_time_share_one_limit(real_cache: CacheUnderTest) -> None:
    limit = RateLimit(per_second=1, burst=40)
    began = now_us(real_cache)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: real_cache.cache.rate_limits.take("abc", limit), range(200)))
    allowed = sum(one.is_allowed for one in answers)
    assert 40 <= allowed <= 40 + (now_us(real_cache) - began) // limit.interval_us
