"""Rate limits: how many requests a key may make, and what is left of them.

The limit is a GCRA (generic cell rate algorithm): one time says all. It is the time at which the key has its whole
burst again; each request moves it on by one interval, and it may lie at most one burst ahead of now.
`lua/rate_limit.lua` decides by it; here is what the decision means.
"""

from dataclasses import dataclass

MOST_PER_SECOND = 10_000
"""The interval between two requests is kept in whole microseconds; at this rate that makes the limit stricter by up to
one percent, and by less below it."""

LARGEST_BURST = 100_000

_SECOND_US = 1_000_000


@dataclass(slots=True, frozen=True)
class RateLimit:
    """What a key may make: `per_second` requests for long, and up to `burst` at once."""

    per_second: int
    burst: int

    @property
    def interval_us(self) -> int:
        """The time in which one request comes free again, in microseconds; never shorter than the limit says."""
        return _rounded_up(_SECOND_US, self.per_second)

    @property
    def window_s(self) -> int:
        """The time in which the whole burst comes free again, in seconds."""
        return _rounded_up(self.burst * self.interval_us, _SECOND_US)


@dataclass(slots=True, frozen=True)
class Allowance:
    """What the cache decided about one request, and what is left after it. Seconds are rounded up."""

    is_allowed: bool
    remaining: int
    """Requests that could follow at once."""
    full_in_s: int
    """Until the whole burst is free again."""
    retry_after_s: int
    """Until the next request is allowed; 0 if it would be allowed now."""


def allowance(limit: RateLimit, *, is_allowed: bool, full_at_us: int, now_us: int) -> Allowance:
    """What a decision means; both times are the cache's, in microseconds since 1970."""
    taken_us = max(0, full_at_us - now_us)
    left_us = limit.burst * limit.interval_us - taken_us
    wait_us = max(0, limit.interval_us - left_us)
    return Allowance(
        is_allowed=is_allowed,
        remaining=max(0, left_us // limit.interval_us),
        full_in_s=_rounded_up(taken_us, _SECOND_US),
        retry_after_s=_rounded_up(wait_us, _SECOND_US),
    )


def _rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
