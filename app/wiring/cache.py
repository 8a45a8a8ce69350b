"""The cache, which every process knows."""

from app.cache.cache import Cache
from app.cache.client import request_client
from app.settings import Settings


def build_cache(settings: Settings) -> Cache:
    """The cache."""
    return Cache(
        request_client(settings.redis_url, settings.cache_deadline_s),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
    )
