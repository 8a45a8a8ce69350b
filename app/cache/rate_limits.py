"""Rate limits in the cache: `lua/rate_limit.lua` decides about each request of a key that has one."""

from app.cache import keys
from app.cache.client import CacheClient
from app.domain.payment import partition_of
from app.domain.rate_limits import Allowance, RateLimit, allowance


class RateLimits:
    """What the API keys with a limit have left, for all processes together."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def take(self, key_id: str, limit: RateLimit) -> Allowance:
        """Take one request of a key. A cache that cannot be asked allows none: its fault is raised."""
        rate = keys.rate(partition_of(key_id, self._client.partitions), key_id)
        [(code, full_at_us, now_us)] = self._client.run([(keys.RATE_LIMIT, [rate], [limit.interval_us, limit.burst])])
        return allowance(limit, is_allowed=code == "TAKEN", full_at_us=full_at_us, now_us=now_us)
