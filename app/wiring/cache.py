"""The cache, which every process knows."""

from app.funds.connection import request_client
from app.funds.gateway import Funds
from app.settings import Settings


def build_funds(settings: Settings) -> Funds:
    """The cache."""
    return Funds(
        request_client(settings.redis_url, settings.cache_deadline_s),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
    )
