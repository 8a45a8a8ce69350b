"""A cache under test, and its raw keys."""

from typing import Any

import redis

from app.cache import keys
from app.cache.cache import Cache
from app.cache.client import CacheClient
from app.domain.ledger_rows import LedgerBalance
from app.domain.payment import Intent
from app.domain.reservations import CachedBalance, Decision, Funds, ReserveItem, ReserveReply, Stale
from app.domain.settlement import AccountSettlement
from tests import hot_state
from tests.builders import NOON_MS, WINDOW_MS, intent, wallet

DIRECTORY_VERSION = 1


class CacheUnderTest:
    """One partition's view: with a single partition every account lies in 0."""

    def __init__(self, client: redis.Redis, *, partitions: int = 1, backlog_limit: int = 1_000) -> None:
        self.client = client
        self.cache = Cache(CacheClient(client, partitions=partitions, window_ms=WINDOW_MS, backlog_limit=backlog_limit))

    def opened(self) -> "CacheUnderTest":
        """All partitions open, at the first directory version."""
        for partition in range(self.cache.partitions):
            self.cache.partition_states.open(partition, DIRECTORY_VERSION, "")
        return self

    def limited_to(self, backlog_limit: int) -> "CacheUnderTest":
        """The same cache, called with another backlog limit."""
        return CacheUnderTest(self.client, partitions=self.cache.partitions, backlog_limit=backlog_limit)

    def hydrate(self, *balances: LedgerBalance, directory_version: int = DIRECTORY_VERSION) -> list[CachedBalance]:
        """What a service does with a cold account."""
        self.cache.accounts.set_placeholders([row.account_id for row in balances])
        replies = self.cache.accounts.hydrate(balances, directory_version)
        return [reply for reply in replies if reply is not None]

    def with_wallet(self, account_id: str = "alice", balance_minor: int = 100, **more: Any) -> "CacheUnderTest":
        """A hydrated wallet."""
        self.hydrate(wallet(account_id, balance_minor, **more))
        return self

    def try_reserve(
        self, *items: ReserveItem | Intent, directory_version: int = DIRECTORY_VERSION
    ) -> ReserveReply | Stale:
        """One call of the script for partition 0."""
        wrapped = [item if isinstance(item, ReserveItem) else ReserveItem(item) for item in items]
        [reply], _ = self.cache.reservations.reserve([(0, wrapped)], directory_version)
        return reply

    def reserve(self, *items: ReserveItem | Intent) -> list[Decision]:
        """The decisions of one call that must not be stale."""
        reply = self.try_reserve(*items)
        assert isinstance(reply, ReserveReply)
        return reply.decisions

    def reserved(self, amount_minor: int, external_id: str, source: str = "alice") -> str:
        """Reserve a payment that must be accepted; returns its stream id."""
        [decision] = self.reserve(intent(source, "bob", amount_minor, external_id=external_id))
        assert decision.stream_id is not None, decision
        return decision.stream_id

    def codes(self, *items: ReserveItem | Intent) -> list[str]:
        """The codes of one call."""
        return [decision.code.value for decision in self.reserve(*items)]

    def state(self, account_id: str = "alice") -> Funds:
        """An account's funds."""
        cached = self.cache.accounts.balance(account_id)
        assert cached is not None
        return cached.funds

    def raw(self, account_id: str = "alice") -> dict[str, str]:
        """The account's fields as they stand, without its holds."""
        return hot_state.parts(self.client, keys.account(0, account_id))

    def holds(self, account_id: str = "alice") -> dict[str, int]:
        """The account's holds."""
        found = hot_state.holds(self.client, keys.account(0, account_id))
        return {stream_id: int(amount) for stream_id, amount in found.items()}

    def outbox(self) -> list[str]:
        """The stream ids in the outbox."""
        return [queued.outbox_position.stream_id for queued in self.cache.outbox.read(0)]

    def everything(self) -> dict[str, Any]:
        """Every key with its content but the tally, to prove that a call changed nothing."""
        content: dict[str, Any] = {}
        for key in sorted(self.client.scan_iter()):
            kind = self.client.type(key)
            if key.endswith(":tally"):
                continue
            if kind == "string":
                content[key] = self.client.get(key)
            elif kind == "hash":
                content[key] = self.client.hgetall(key)
            else:
                content[key] = self.client.xrange(key)
        return content


def settlement(
    account_id: str = "alice",
    balance_minor: int = 0,
    entry_count: int = 1,
    *,
    version: int | None = None,
    posted: tuple[str, ...] = (),
    released: tuple[str, ...] = (),
) -> AccountSettlement:
    """What the ledger says of one account."""
    known_version = entry_count if version is None else version
    return AccountSettlement(
        account_id, balance_minor, entry_count, known_version, NOON_MS + entry_count, list(posted), list(released)
    )
