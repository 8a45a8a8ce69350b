"""The outboxes: the intents that wait for the ledger, and `lua/settle.lua`, which settles them once posted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from app.cache import keys
from app.cache.client import CacheClient, Call
from app.cache.codec import decode_intent
from app.cache.metrics import note_settled
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import OutboxPosition
from app.domain.settlement import AccountSettlement, Notice, PartitionSettlement

_encode_notices = msgspec.json.Encoder().encode

AWAKE_MS = 1_000
"""How long the mark of a drain outlives it: after a kill, the next wake-up or sweep takes over."""

INTENTS_PER_PAGE = 500
"""Intents read in one call: a long call blocks the server."""

SETTLE_ACCOUNTS_PER_CALL = 100
"""A script blocks the server: this many accounts keep a call near a millisecond."""


class Outbox:
    """The outboxes of all partitions."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def backlog(self) -> dict[int, int]:
        """The number of unsettled intents, by partition."""
        with self._client.translated():
            pipeline = self._client.redis.pipeline(transaction=False)
            for partition in range(self._client.partitions):
                pipeline.xlen(keys.outbox(partition))
            return dict(enumerate(pipeline.execute()))

    def oldest(self) -> dict[int, str]:
        """The stream id of the oldest unsettled intent, by partition; partitions without intents are left out."""
        names = [keys.outbox(partition) for partition in range(self._client.partitions)]
        with self._client.translated():
            replies = self._client.look([("XRANGE", name, "-", "+", "COUNT", 1) for name in names])
        return {partition: page[0][0] for partition, page in enumerate(replies) if page}

    def mark_awake(self) -> None:
        """Say that a drain is running, so that nobody wakes one."""
        with self._client.translated():
            pipeline = self._client.redis.pipeline(transaction=False)
            for partition in range(self._client.partitions):
                pipeline.set(keys.awake(partition), "1", px=AWAKE_MS)
            pipeline.execute()

    def mark_asleep(self) -> None:
        """Remove the mark, before a drain that ends looks for the last time."""
        with self._client.translated():
            pipeline = self._client.redis.pipeline(transaction=False)
            for partition in range(self._client.partitions):
                pipeline.delete(keys.awake(partition))
            pipeline.execute()

    def read(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]:
        """Up to `limit` intents of a partition, oldest first, those after the stream id `after`."""
        return self.read_many({partition: after}, limit)[partition]

    def read_many(self, after: Mapping[int, str], limit: int) -> dict[int, list[QueuedIntent]]:
        """Up to `limit` intents of each of these partitions, those after its stream id in `after`.

        One command for all, because a drain sends it most often; a cluster would need one per partition. It bypasses
        redis-py, which would make a dict of each intent.
        """
        partitions = {keys.outbox(partition): partition for partition in after}
        with self._client.translated():
            [replies] = self._client.look([("XREAD", "COUNT", limit, "STREAMS", *partitions, *after.values())])
        pages: dict[int, list[QueuedIntent]] = {partition: [] for partition in after}
        for name, entries in replies or ():
            partition = partitions[name]
            pages[partition] = [_queued(partition, stream_id, text) for stream_id, (_, text) in entries]
        return pages

    def pages(self, partition: int) -> Iterator[Sequence[QueuedIntent]]:
        """All intents of a partition in order, some at a time; one that arrives meanwhile may be missing."""
        after = "0"
        while page := self.read(partition, after, INTENTS_PER_PAGE):
            yield page
            after = page[-1].outbox_position.stream_id

    def concluding(self, partition: int) -> set[str]:
        """The authorizations, by payment id, that intents still in the outbox conclude."""
        return {queued.payment_id for page in self.pages(partition) for queued in page if queued.intent.payment_id}

    def pending(self, outbox_position: OutboxPosition) -> QueuedIntent | None:
        """The intent at a position; None once it has been settled."""
        if outbox_position.partition >= self._client.partitions:
            return None
        with self._client.translated():
            entries: Any = self._client.redis.xrange(
                keys.outbox(outbox_position.partition), outbox_position.stream_id, outbox_position.stream_id
            )
        return (
            _queued(outbox_position.partition, outbox_position.stream_id, entries[0][1]["intent"]) if entries else None
        )

    def settle(
        self,
        partition: int,
        accounts: Sequence[AccountSettlement],
        *,
        records: Mapping[tuple[str, str], str] | None = None,
        done_up_to: str = "",
        done: Sequence[str] = (),
        notice: Notice | None = None,
    ) -> None:
        """Settle one partition."""
        self.settle_all([PartitionSettlement(partition, accounts, records or {}, done_up_to, done, notice)])

    def settle_all(self, settlements: Sequence[PartitionSettlement]) -> None:
        """Assign the ledger's balances, drop holds, then trim the outboxes and notify the waiters.

        There are two round trips, so that nothing is trimmed before every call that trims nothing has succeeded. The
        last script notifies for all partitions, because receiving a message costs every API process more than its
        content.
        """
        first: list[PartitionSettlement] = []
        last: list[PartitionSettlement] = []
        for settlement in settlements:
            *before, final = _chunks(settlement)
            first += before
            (last if final.trims else first).append(final)
        notices = [settlement.notice for settlement in settlements if settlement.notice]
        trips = [parts for parts in (first, last) if parts]
        for parts in trips:
            announced = notices if parts is trips[-1] else []
            self._client.run([*map(_settle_call, parts[:-1]), _settle_call(parts[-1], announced)])
        note_settled(settlements)

    def announce(self, notice: Notice) -> None:
        """Notify the waiters without settling."""
        with self._client.translated():
            self._client.redis.publish(keys.SETTLED_CHANNEL, _encode_notices([notice]))


def _chunks(settlement: PartitionSettlement) -> list[PartitionSettlement]:
    """The settlement in parts of SETTLE_ACCOUNTS_PER_CALL accounts; the last part also has everything else."""
    accounts, size = settlement.accounts, SETTLE_ACCOUNTS_PER_CALL
    last = max(0, len(accounts) - 1) // size * size
    parts = [PartitionSettlement(settlement.partition, accounts[at : at + size]) for at in range(0, last, size)]
    return [*parts, replace(settlement, accounts=accounts[last:]) if last else settlement]


def _settle_call(settlement: PartitionSettlement, notices: Sequence[Notice] = ()) -> Call:
    partition, accounts, records = settlement.partition, settlement.accounts, settlement.records
    names = [keys.outbox(partition)]
    args: list[Any] = [
        settlement.done_up_to,
        len(accounts),
        len(records),
        len(settlement.done),
        _encode_notices(notices) if notices else "",
        keys.SETTLED_CHANNEL,
    ]
    for account in accounts:
        names.append(keys.account(partition, account.account_id))
        args += (
            account.balance_minor,
            account.entry_count,
            account.version,
            account.updated_at_ms,
            len(account.posted),
            len(account.released),
        )
        args += account.posted
        args += account.released
    for (entity_id, external_id), outcome in records.items():
        names.append(keys.record(partition, entity_id, external_id))
        args.append(outcome)
    args += settlement.done
    return keys.SETTLE, names, args


def _queued(partition: int, stream_id: str, text: str) -> QueuedIntent:
    return QueuedIntent(OutboxPosition(partition, stream_id), decode_intent(text))
