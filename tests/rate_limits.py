"""The rate limit as its definition has it, to hold the script and the product's own arithmetic against."""

from app.domain.rate_limits import RateLimit


def gcra(limit: RateLimit, full_at_us: int | None, now_us: int) -> tuple[bool, int]:
    """Whether a request at a time is allowed, and when the whole burst is free again after it.

    `full_at_us` is when it would be without the request; None if the key has made none lately.
    """
    most_us = limit.burst * limit.interval_us
    full_at_us = now_us if full_at_us is None else min(full_at_us, now_us + most_us)
    moved_us = max(full_at_us, now_us) + limit.interval_us
    return (True, moved_us) if moved_us - now_us <= most_us else (False, full_at_us)
