"""A cache under test: the gateway beside the raw keys."""

from typing import Any

import redis

from app.domain.decisions import CachedBalance, Decision, FundsState, ReserveItem, ReserveReply, Stale
from app.domain.payments import Intent
from app.domain.posting import LedgerBalance
from app.domain.settlement import AccountSettlement
from app.funds import keys
from app.funds.gateway import Funds
from tests import hot_state
from tests.builders import NOON_MS, WINDOW_MS, intent, wallet

DIRECTORY_VERSION = 1


class Cache:
    """One partition's view: with a single partition every account lies in 0."""

    def __init__(self, client: redis.Redis, *, partitions: int = 1, backlog_limit: int = 1_000) -> None:
        self.client = client
        self.funds = Funds(client, partitions=partitions, window_ms=WINDOW_MS, backlog_limit=backlog_limit)

    def opened(self) -> "Cache":
        """All partitions open, at the first directory version."""
        for partition in range(self.funds.partitions):
            self.funds.open(partition, DIRECTORY_VERSION, "")
        return self

    def limited_to(self, backlog_limit: int) -> "Cache":
        """The same cache, called with another backlog limit."""
        return Cache(self.client, partitions=self.funds.partitions, backlog_limit=backlog_limit)

    def hydrate(self, *balances: LedgerBalance, directory_version: int = DIRECTORY_VERSION) -> list[CachedBalance]:
        """What a service does with a cold account."""
        self.funds.place_holder([row.account_id for row in balances])
        replies = self.funds.hydrate(balances, directory_version)
        return [reply for reply in replies if reply is not None]

    def with_wallet(self, account_id: str = "alice", balance_minor: int = 100, **more: Any) -> "Cache":
        """A hydrated wallet."""
        self.hydrate(wallet(account_id, balance_minor, **more))
        return self

    def try_reserve(
        self, *items: ReserveItem | Intent, directory_version: int = DIRECTORY_VERSION
    ) -> ReserveReply | Stale:
        """One call of the script for partition 0."""
        wrapped = [item if isinstance(item, ReserveItem) else ReserveItem(item) for item in items]
        [reply], _ = self.funds.reserve([(0, wrapped)], directory_version)
        return reply

    def reserve(self, *items: ReserveItem | Intent) -> list[Decision]:
        """The decisions of one call that must not be stale."""
        reply = self.try_reserve(*items)
        assert isinstance(reply, ReserveReply)
        return reply.decisions

    def reserved(self, amount_minor: int, external_id: str, source: str = "alice") -> str:
        """Reserve what must be accepted; returns its position."""
        [decision] = self.reserve(intent(source, "bob", amount_minor, external_id=external_id))
        assert decision.position is not None, decision
        return decision.position

    def codes(self, *items: ReserveItem | Intent) -> list[str]:
        """The codes of one call."""
        return [decision.code.value for decision in self.reserve(*items)]

    def state(self, account_id: str = "alice") -> FundsState:
        """An account's funds."""
        cached = self.funds.balance(account_id)
        assert cached is not None
        return cached.funds

    def raw(self, account_id: str = "alice") -> dict[str, str]:
        """The account's fields as they stand, without its holds."""
        return hot_state.parts(self.client, keys.account(0, account_id))

    def holds(self, account_id: str = "alice") -> dict[str, int]:
        """The account's holds."""
        found = hot_state.holds(self.client, keys.account(0, account_id))
        return {position: int(amount) for position, amount in found.items()}

    def outbox(self) -> list[str]:
        """The positions in the outbox."""
        return [queued.place.position for queued in self.funds.outbox(0)]

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
    """What the ledger tells of one account."""
    known_version = entry_count if version is None else version
    return AccountSettlement(
        account_id, balance_minor, entry_count, known_version, NOON_MS + entry_count, list(posted), list(released)
    )
