"""Accounts in the cache: loaded from the ledger, read and given a new floor."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.cache import keys
from app.cache.client import CacheClient, Call
from app.cache.codec import parse_changed_at, parse_funds
from app.cache.metrics import HYDRATIONS
from app.domain.account_changes import LimitCode, LimitReply
from app.domain.ledger_rows import LedgerBalance
from app.domain.reservations import CachedBalance, InspectedAccount
from app.domain.timestamps import to_milliseconds


class CachedAccounts:
    """The accounts of the cache."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def set_placeholders(self, account_ids: Iterable[str]) -> None:
        """Make sure that a settle finds these accounts, before the ledger is read to hydrate them."""
        names = [keys.account(self._client.partition_of(account_id), account_id) for account_id in account_ids]
        self._client.run([], after=[("HSETNX", name, "entry_count", "-1") for name in names])

    def hydrate(
        self,
        rows: Sequence[LedgerBalance],
        directory_version: int,
        open_holds: Mapping[str, Mapping[str, int]] | None = None,
    ) -> list[CachedBalance | None]:
        """Load accounts from the ledger; the cache keeps whatever is newer.

        `open_holds` are the holds of open authorizations by account and stream id. The answer for an account is None if
        its row was older than the cache: read the ledger again.
        """
        calls: list[Call] = []
        for row in rows:
            partition = self._client.partition_of(row.account_id)
            names = [keys.account(partition, row.account_id)]
            args = [*_ledger_arguments(row, directory_version), *_flat((open_holds or {}).get(row.account_id, {}))]
            calls.append((keys.HYDRATE, names, args))
        HYDRATIONS.inc(len(calls))
        return [None if reply[0] == "BEHIND" else _cached_balance(reply) for reply in self._client.run(calls)]

    def rebuild(
        self,
        seen: InspectedAccount | None,
        row: LedgerBalance,
        directory_version: int,
        authorizations: Mapping[str, int],
        intents: Mapping[str, int],
    ) -> bool:
        """Rebuild an account from the ledger; False if it changed after it was `seen`, which was before the ledger.

        `authorizations` are the holds, by stream id, of open authorizations that no pending intent concludes; `intents`
        those of pending intents whose hold is wrong. An account that was seen cold stays cold.
        """
        partition = self._client.partition_of(row.account_id)
        names = [keys.outbox(partition), keys.account(partition, row.account_id)]
        as_seen = ["", ""] if seen is None else [seen.funds.version, seen.entry_count]
        args = [*as_seen, *_ledger_arguments(row, directory_version), len(authorizations)]
        [reply] = self._client.run([(keys.REBUILD, names, [*args, *_flat(authorizations), *_flat(intents)])])
        return bool(reply[0] == "REBUILT")

    def forget(self, account_id: str) -> None:
        """Drop an account that the ledger does not know, with all its holds."""
        with self._client.translated():
            self._client.redis.delete(keys.account(self._client.partition_of(account_id), account_id))

    def balance(self, account_id: str) -> CachedBalance | None:
        """An account's hot state; None while it is cold."""
        key = keys.account(self._client.partition_of(account_id), account_id)
        with self._client.translated():
            reply: Any = self._client.redis.hmget(key, "funds", "entry_count")
        return None if reply[0] is None else _cached_balance(reply)

    def limit(self, account_id: str, floor_minor: int | None, directory_version: int, mode: str) -> LimitReply:
        """Give an account a new floor, in minor units; `lua/limit.lua` has the modes `check`, `force`, `assign`."""
        names = [keys.account(self._client.partition_of(account_id), account_id)]
        floor = "" if floor_minor is None else floor_minor
        [reply] = self._client.run([(keys.LIMIT, names, [floor, directory_version, mode])])
        return _limit_reply(reply)


def _ledger_arguments(row: LedgerBalance, directory_version: int) -> list[Any]:
    floor = "" if row.floor_minor is None else row.floor_minor
    changed_at_ms = to_milliseconds(row.updated_at)
    return [row.balance_minor, row.entry_count, row.version, floor, directory_version, changed_at_ms]


def _flat(holds: Mapping[str, int]) -> list[Any]:
    return [part for hold in holds.items() for part in hold]


def _limit_reply(reply: Sequence[str]) -> LimitReply:
    code = LimitCode(reply[0])
    if code is LimitCode.COLD:
        return LimitReply(code, None)
    return LimitReply(code, parse_funds(reply[1]))


def _cached_balance(fields: Sequence[str]) -> CachedBalance:
    funds, entry_count = fields
    return CachedBalance(parse_funds(funds), int(entry_count), parse_changed_at(funds))
