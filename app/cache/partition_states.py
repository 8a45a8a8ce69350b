"""The partitions of the cache: open or closed, the directory version they ask for, and what tells an older copy.

A partition without a directory version is closed: it decides nothing until it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from app.cache import keys
from app.cache.client import CacheClient, Command
from app.domain.cache_identity import FoundPartition
from app.domain.payment import OutboxPosition

FORGET_PER_CALL = 100
"""Accounts that one script call forgets: well below a millisecond for the usual account."""

LOOK_UPS_PER_TRIP = 1_000
"""Outbox positions that are looked up in one round trip."""


class PartitionStates:
    """Opens and closes partitions, and looks at them."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def directory_version(self, partition: int) -> int | None:
        """The directory version that callers of a partition must know; None if the partition is closed."""
        with self._client.translated():
            version: Any = self._client.redis.get(keys.directory(partition))
        return None if version is None else int(version)

    def directory_versions(self) -> dict[int, int | None]:
        """The directory version of every partition; None for one that is closed."""
        with self._client.translated():
            commands: list[Command] = [("GET", keys.directory(number)) for number in range(self._client.partitions)]
            versions = self._client.look(commands)
        return {number: None if version is None else int(version) for number, version in enumerate(versions)}

    def push(self, directory_version: int, partitions: Iterable[int] | None = None) -> list[int]:
        """Have these partitions, or all, require at least this directory version; returns those that are closed."""
        numbers = list(range(self._client.partitions) if partitions is None else partitions)
        names = [[keys.directory(partition), keys.identity(partition)] for partition in numbers]
        replies = self._client.run([(keys.PUSH, one, [directory_version]) for one in names])
        return [partition for partition, reply in zip(numbers, replies, strict=True) if reply == ""]

    def look(self) -> dict[int, FoundPartition]:
        """Every partition as it is now."""
        commands: list[Command] = []
        for partition in range(self._client.partitions):
            outbox = keys.outbox(partition)
            commands.append(("HMGET", keys.identity(partition), "identity", "beat"))
            commands.append(("GET", keys.directory(partition)))
            commands.append(("XINFO", "STREAM", outbox))
        with self._client.translated():
            replies = self._client.look(commands, tolerated="no such key")
        return {
            partition: _found(*replies[3 * partition : 3 * partition + 3])
            for partition in range(self._client.partitions)
        }

    def beat(self, partitions: Sequence[int]) -> list[int]:
        """Raise the beat of these partitions by one; returns their beats."""
        commands: list[Command] = [("HINCRBY", keys.identity(partition), "beat", 1) for partition in partitions]
        return self._client.run([], after=commands)

    def close(self, identity: str) -> None:
        """Close every partition under a new identity: from now on, none decides until it is opened with it."""
        commands: list[Command] = []
        for partition in range(self._client.partitions):
            # The directory goes first: a partition is never open under an identity that the ledger does not know.
            commands.append(("DEL", keys.directory(partition)))
            commands.append(("HSET", keys.identity(partition), "identity", identity))
        self._client.run([], after=commands)

    def forget(self, partition: int, account_ids: Sequence[str], *, counts_are_known: bool) -> bool:
        """Make accounts of a closed partition cold; False if the partition is open, and nothing was done.

        `counts_are_known` says that the cached entry counts are of the ledger's own history.
        """
        fixed = [keys.outbox(partition), keys.directory(partition)]
        names = [keys.account(partition, account_id) for account_id in account_ids]
        # Together in one round trip: the server syncs its append-only file once for all of them.
        replies = self._client.run(
            [
                (keys.FORGET, fixed + names[start : start + FORGET_PER_CALL], [int(counts_are_known)])
                for start in range(0, len(names), FORGET_PER_CALL)
            ]
        )
        return all(forgotten >= 0 for forgotten in replies)

    def open(self, partition: int, directory_version: int, last_known: str, identity: str = "") -> int | None:
        """Open a partition that was closed under this identity; returns the directory version in force there.

        New stream ids will be greater than `last_known`. None if it was closed under another identity.
        """
        return self.open_all(directory_version, {partition: last_known}, identity)[partition]

    def open_all(
        self, directory_version: int, last_known: Mapping[int, str], identity: str = ""
    ) -> dict[int, int | None]:
        """Open several partitions, as `open` does."""
        replies = self._client.run(
            [
                (keys.OPEN, _open_keys(partition), [directory_version, stream_id, identity])
                for partition, stream_id in last_known.items()
            ]
        )
        return {
            partition: None if reply == "" else int(reply) for partition, reply in zip(last_known, replies, strict=True)
        }

    def without_intent(self, positions: Sequence[OutboxPosition]) -> list[OutboxPosition]:
        """Those of these positions that no intent in the outbox has."""
        missing: list[OutboxPosition] = []
        for start in range(0, len(positions), LOOK_UPS_PER_TRIP):
            asked = positions[start : start + LOOK_UPS_PER_TRIP]
            commands: list[Command] = [
                ("XRANGE", keys.outbox(one.partition), one.stream_id, one.stream_id) for one in asked
            ]
            with self._client.translated():
                replies = self._client.look(commands)
            missing += [one for one, intents in zip(asked, replies, strict=True) if not intents]
        return missing


def _open_keys(partition: int) -> list[str]:
    return [keys.outbox(partition), keys.directory(partition), keys.tally(partition), keys.identity(partition)]


def _found(identity: Sequence[str | None], directory_version: str | None, outbox: Any) -> FoundPartition:
    info = {} if isinstance(outbox, redis.RedisError) else dict(zip(outbox[::2], outbox[1::2], strict=True))
    return FoundPartition(
        identity[0] or "",
        None if directory_version is None else int(directory_version),
        info.get("last-generated-id", ""),
        int(info.get("entries-added", 0)),
        int(info.get("length", 0)),
        int(identity[1] or 0),
    )
