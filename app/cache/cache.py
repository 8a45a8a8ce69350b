"""The cache as the services see it: one Redis (or Valkey) server, in parts by what they are asked for."""

from app.cache.accounts import CachedAccounts
from app.cache.audit_tallies import AuditTallies
from app.cache.authorizations import CachedAuthorizations
from app.cache.client import CacheClient
from app.cache.inspection import Inspection
from app.cache.notifications import Heartbeats, Revocations
from app.cache.outbox import Outbox
from app.cache.partition_states import PartitionStates
from app.cache.rate_limits import RateLimits
from app.cache.reservations import Reservations


class Cache:
    """The hot state, reached by one client."""

    def __init__(self, client: CacheClient) -> None:
        self.client = client
        self.partitions = client.partitions
        self.partition_of = client.partition_of
        self.reservations = Reservations(client)
        self.accounts = CachedAccounts(client)
        self.partition_states = PartitionStates(client)
        self.authorizations = CachedAuthorizations(client)
        self.outbox = Outbox(client)
        self.heartbeats = Heartbeats(client)
        self.inspection = Inspection(client)
        self.revocations = Revocations(client)
        self.rate_limits = RateLimits(client)
        self.audit_tallies = AuditTallies(client)
