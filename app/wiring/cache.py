"""Wiring of the cache, which every process uses, and of the watch over its identity."""

import secrets
from functools import partial

from app.cache.cache import Cache
from app.cache.client import CacheClient, request_client
from app.ledger.cache_identity import LedgerCacheIdentity
from app.services.proofs.cache_identity import AcknowledgedTail, CacheIdentity
from app.settings import Settings


def build_cache(settings: Settings, process: str = "command") -> Cache:
    """The cache; `process` is the name by which its server knows this client."""
    client = CacheClient(
        request_client(settings.redis_url, settings.cache_deadline_s, name=f"holdfast-{process}"),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
        reserve_percent=settings.cache_reserve_percent,
    )
    return Cache(client)


def build_identity(settings: Settings, cache: Cache, ledger: LedgerCacheIdentity | None = None) -> CacheIdentity:
    """The watch over a cache's identity, which from now on looks before a new connection is used.

    It has a connection of its own, unless it is given one.
    """
    ledger = ledger or LedgerCacheIdentity(settings.database_url)
    identity = CacheIdentity(cache, ledger, AcknowledgedTail(settings.partitions), partial(secrets.token_hex, 8))
    cache.client.on_connect(identity.meet)
    return identity
