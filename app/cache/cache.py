"""The cache as the services see it: one Redis (or Valkey) server, in parts by what they are asked for."""

import redis

from app.cache.accounts import CachedAccounts
from app.cache.authorizations import CachedAuthorizations
from app.cache.client import CacheClient
from app.cache.heartbeats import Heartbeats
from app.cache.inspection import Inspection
from app.cache.outbox import Outbox
from app.cache.partition_states import PartitionStates
from app.cache.reservations import Reservations
from app.cache.revocations import Revocations
from app.cache.server_watch import RESERVE_PERCENT


class Cache:
    """The hot state, reached by one client."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        partitions: int,
        window_ms: int,
        backlog_limit: int,
        reserve_percent: int = RESERVE_PERCENT,
    ) -> None:
        """`window_ms` is how long an external id is remembered; a partition has at most `backlog_limit` intents.

        `reserve_percent` of the server's memory limit are kept free of new payments.
        """
        self.client = CacheClient(
            client,
            partitions=partitions,
            window_ms=window_ms,
            backlog_limit=backlog_limit,
            reserve_percent=reserve_percent,
        )
        self.partitions = partitions
        self.partition_of = self.client.partition_of
        self.reservations = Reservations(self.client)
        self.accounts = CachedAccounts(self.client)
        self.partition_states = PartitionStates(self.client)
        self.authorizations = CachedAuthorizations(self.client)
        self.outbox = Outbox(self.client)
        self.heartbeats = Heartbeats(self.client)
        self.inspection = Inspection(self.client)
        self.revocations = Revocations(self.client)
