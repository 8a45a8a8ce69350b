"""Inspection of the cache: for reconciliation, repair, metrics and readiness."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import redis

from app.cache import keys
from app.cache.client import CacheClient, durability_of
from app.cache.codec import parse_funds
from app.cache.server_states import PROBE, CacheServer, server_from
from app.domain.ledger_rows import QueuedIntent
from app.domain.reservations import InspectedAccount, ReserveCode

_NOT_RESERVED = ("concluded", "set_behind")
"""Tallies of outbox entries that the reserve script did not add; all other entries were reserved payments."""

MOST_HOLDS = 1_000
"""Holds of one account that are looked at for the sake of one payment: about a millisecond of the server."""


class Inspection:
    """Reads that change nothing."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def cached_accounts(self, batch: int = 500) -> Iterator[tuple[int, list[str]]]:
        """The ids of all cached accounts, in batches of one partition; one that appears meanwhile may be missed."""
        found: dict[int, list[str]] = {}
        with self._client.translated():
            for key in self._client.redis.scan_iter(match=keys.pattern(keys.ACCOUNT), count=batch):
                account = keys.account_of(key)
                if account is None:
                    continue
                partition, account_id = account
                listed = found.setdefault(partition, [])
                listed.append(account_id)
                if len(listed) >= batch:
                    yield partition, found.pop(partition)
        yield from found.items()

    def inspect(self, partition: int, account_ids: Sequence[str]) -> list[InspectedAccount]:
        """One consistent look at accounts of one partition; cold ones are left out."""
        names = [keys.outbox(partition), *(keys.account(partition, account_id) for account_id in account_ids)]
        [reply] = self._client.run([(keys.INSPECT, names, [])])
        inspected = []
        for account_id, (funds, entry_count, flat) in zip(account_ids, reply, strict=True):
            if funds is None:
                continue
            holds = {flat[n]: (int(flat[n + 1]), flat[n + 2] == "1") for n in range(0, len(flat), 3)}
            inspected.append(InspectedAccount(account_id, parse_funds(funds), int(entry_count), holds))
        return inspected

    def settled_holds(self, account_ids: Collection[str]) -> dict[str, int]:
        """What holds whose intents have left the outbox sum up to: by account, what its authorizations hold.

        Accounts with more than MOST_HOLDS holds are left out, because the look at them would block the server.
        """
        homes = {account_id: self._client.partition_of(account_id) for account_id in account_ids}
        with self._client.translated():
            lengths = self._client.look([("HLEN", keys.account(home, one)) for one, home in homes.items()])
        small: dict[int, list[str]] = {}
        for (account_id, home), length in zip(homes.items(), lengths, strict=True):
            if length <= MOST_HOLDS:
                small.setdefault(home, []).append(account_id)
        inspected = [one for partition, group in small.items() for one in self.inspect(partition, group)]
        return {
            one.account_id: sum(amount for amount, is_pending in one.holds.values() if not is_pending)
            for one in inspected
        }

    def witness(self, partition: int, intents: Sequence[QueuedIntent]) -> list[tuple[QueuedIntent, int]]:
        """The pending ones of these intents whose hold is wrong, with the amount that is held instead."""
        names = [keys.outbox(partition)]
        args: list[Any] = []
        for queued in intents:
            names.append(keys.account(partition, queued.intent.guarded_account_id))
            args += (queued.outbox_position.stream_id, queued.intent.hold_minor)
        [reply] = self._client.run([(keys.WITNESS, names, args)])
        return [(intents[reply[n] - 1], int(reply[n + 1])) for n in range(0, len(reply), 2)]

    def tallies(self) -> dict[str, int]:
        """Counts of reserve outcomes since the cache was empty."""
        with self._client.translated():
            pipeline = self._client.redis.pipeline(transaction=False)
            for partition in range(self._client.partitions):
                pipeline.hgetall(keys.tally(partition))
                pipeline.xinfo_stream(keys.outbox(partition))
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            totals: Counter[str] = Counter()
            for tally, outbox in zip(replies[::2], replies[1::2], strict=True):
                counted = Counter({} if _is_missing(tally) else {name: int(count) for name, count in tally.items()})
                entries = 0 if _is_missing(outbox) else outbox["entries-added"]
                counted[ReserveCode.RESERVED] = entries - sum(counted.pop(name, 0) for name in _NOT_RESERVED)
                totals += counted
            return dict(totals)

    def ping(self) -> None:
        """Raise CacheUnavailable or OutcomeUnknown unless the cache answers."""
        with self._client.translated():
            self._client.redis.ping()

    def server(self) -> CacheServer:
        """Role, memory and clock of the server."""
        sent_at = time.time()
        with self._client.translated():
            info, clock = self._client.look(PROBE)
        return server_from(info, clock, sent_at, time.time())

    def has_room(self, server: CacheServer) -> bool:
        """Whether there is memory for new payments on this server."""
        return server.has_room(self._client.watch.reserve_percent)

    def durability(self) -> tuple[str, str]:
        """The server's appendfsync (`no` without an append-only file) and its eviction policy."""
        with self._client.translated():
            return durability_of(self._client.redis)


def _is_missing(reply: Any) -> bool:
    """Whether a command failed because its key is missing; any other failure is raised."""
    if isinstance(reply, redis.RedisError) and "no such key" not in str(reply):
        raise reply
    return isinstance(reply, redis.RedisError)
