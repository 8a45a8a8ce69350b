"""The cache, which every process knows."""

from app.cache.cache import Cache
from app.cache.client import request_client
from app.settings import Settings


def build_cache(settings: Settings, process: str = "command") -> Cache:
    """The cache; `process` is the name by which its server knows this client."""
    return Cache(
        request_client(settings.redis_url, settings.cache_deadline_s, name=f"holdfast-{process}"),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
        reserve_percent=settings.cache_reserve_percent,
    )
