"""Wiring of the cache, which every process uses."""

from app.cache.cache import Cache
from app.cache.client import request_client
from app.settings import Settings


def build_cache(settings: Settings) -> Cache:
    """A cache of its own connections, with the installation's settings."""
    return Cache(
        request_client(settings.redis_url, settings.cache_deadline_s),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
    )
