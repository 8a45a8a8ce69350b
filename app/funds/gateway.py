"""The cache as the services see it: verbs over scripts, replies turned into values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import redis
from redis.exceptions import NoScriptError

from app.domain.changes import LimitCode, LimitReply
from app.domain.clock import to_milliseconds
from app.domain.decisions import (
    CachedBalance,
    ConcludeCode,
    ConcludeReply,
    Conclusion,
    Elsewhere,
    Failed,
    InspectedAccount,
    Record,
    ReserveCode,
    ReserveItem,
    ReserveReply,
    Stale,
    parse_changed_at,
    parse_conclusion,
    parse_decision,
    parse_funds,
    parse_record,
)
from app.domain.faults import CacheUnavailable, OutcomeUnknown
from app.domain.holds import HoldState
from app.domain.partitions import PaymentPosition, partition_of
from app.domain.payments import Intent
from app.domain.posting import LedgerBalance, QueuedIntent
from app.domain.settlement import AccountSettlement, Notice, PartitionSettlement
from app.funds import keys, scripts
from app.funds.connection import CacheUnreachable, RoundTrips, durability_of, refused_before_running
from app.funds.intents import decode_intent as _decode_intent
from app.funds.intents import encode_intent as _encode_intent
from app.funds.scripts import Script

_encode_notices = msgspec.json.Encoder().encode

Group = tuple[int, Sequence[ReserveItem]]
"""A partition and the payments that it decides in one script call."""


class HasIntent(Protocol):
    """A payment to decide, or one that stands in the outbox."""

    @property
    def intent(self) -> Intent: ...


Claim = tuple[str, int, tuple[str, str]]
"""A claim: its key, the partition that claims, entity and external id."""

Command = tuple[Any, ...]

Call = tuple[Script, list[str], list[Any]]
"""A script, its keys and its arguments."""

_SET = b"SET"
"""What is the same in every claim is given in bytes: packing text and numbers takes twice as long."""

AWAKE_MS = 1_000
"""How long the mark of a drain outlives it: after a kill, the next wake-up or the sweep takes over."""

SETTLE_ACCOUNTS_PER_CALL = 100
"""A script blocks the server: this many accounts keep a call near a millisecond."""


class Funds:
    """The hot state behind one Redis (or Valkey) client."""

    def __init__(self, client: redis.Redis, *, partitions: int, window_ms: int, backlog_limit: int) -> None:
        self._client = client
        self._round_trips = RoundTrips(client.connection_pool)
        self.partitions = partitions
        self.window_ms = window_ms
        self.backlog_limit = backlog_limit
        self._unless_claimed = (b"NX", b"GET", b"PX", b"%d" % window_ms)

    def partition_of(self, account_id: str) -> int:
        """The partition that holds this account."""
        return partition_of(account_id, self.partitions)

    # Reserving

    def reserve(self, groups: Sequence[Group], directory_version: int) -> tuple[list[ReserveReply | Stale], Elsewhere]:
        """Decide payments grouped by partition, each alone, in one round trip; a group is one script call.

        Also claims their external ids; returns the claims that another partition made before.
        """
        calls = self._reserve_calls(groups, directory_version, atomic=False, dry_run=False)
        claims = self._claims(groups)
        # The claims go first: a drain that sees an intent must see who claimed its external id.
        replies = self._run(calls, after=self._claim_commands(claims))
        decided = [reply for reply in map(_reserve_reply, replies[len(claims) :]) if not isinstance(reply, Failed)]
        return decided, _elsewhere(claims, replies)

    def reserve_unclaimed(
        self, groups: Sequence[Group], directory_version: int, *, atomic: bool = False, dry_run: bool = False
    ) -> list[ReserveReply | Failed | Stale]:
        """Decide as `reserve` does, but claim nothing. `atomic`: each group whole or not at all; `dry_run`: write
        nothing, and answer what would have been."""
        calls = self._reserve_calls(groups, directory_version, atomic=atomic, dry_run=dry_run)
        return [_reserve_reply(reply) for reply in self._run(calls)]

    def claim(self, groups: Sequence[Group]) -> Elsewhere:
        """Claim the payments' external ids; returns the claims that another partition made before."""
        claims = self._claims(groups)
        return _elsewhere(claims, self._run([], after=self._claim_commands(claims)))

    def claimed_elsewhere(self, groups: Sequence[tuple[int, Sequence[HasIntent]]]) -> Elsewhere:
        """What `claim` would return, claiming nothing."""
        claims = self._claims(groups)
        if not claims:
            return {}
        with self._guarded():
            [firsts] = self._commands([("MGET", *(name for name, _, _ in claims))])  # on a cluster, one a partition
        return _elsewhere(claims, firsts)

    def _reserve_calls(
        self, groups: Sequence[Group], directory_version: int, *, atomic: bool, dry_run: bool
    ) -> list[Call]:
        fixed = [directory_version, self.window_ms, self.backlog_limit, int(atomic), int(dry_run)]
        calls: list[Call] = []
        for partition, items in groups:
            names, payment_args = self._reserve_arguments(partition, items)
            calls.append((scripts.RESERVE, names, fixed + payment_args))
        return calls

    def _claim_commands(self, claims: Sequence[Claim]) -> list[Command]:
        """Set each claim that is not there, and answer the one that is."""
        return [(_SET, name, partition, *self._unless_claimed) for name, partition, _ in claims]

    def _reserve_arguments(self, partition: int, items: Sequence[ReserveItem]) -> tuple[list[str], list[Any]]:
        account_index: dict[str, int] = {}
        account_keys: list[str] = []
        record_keys: list[str] = []
        payment_args: list[Any] = []
        for item in items:
            intent = item.intent
            index = account_index.get(intent.guarded_account_id)
            if index is None:
                index = account_index[intent.guarded_account_id] = len(account_index) + 1
                account_keys.append(keys.account(partition, intent.guarded_account_id))
            record_keys.append(keys.record(partition, intent.entity_id, intent.external_id))
            expected = "" if item.expected_version is None else item.expected_version
            payment_args += (index, intent.hold_minor, expected, intent.fingerprint, _encode_intent(intent))
        fixed_keys = [keys.outbox(partition), keys.awake(partition), keys.tally(partition), keys.directory(partition)]
        return fixed_keys + record_keys + account_keys, payment_args

    def _claims(self, groups: Sequence[tuple[int, Sequence[HasIntent]]]) -> list[Claim]:
        """The claims of some payments' external ids, in the payments' order."""
        claims: list[Claim] = []
        for partition, items in groups:
            for item in items:
                entity_id, external_id = item.intent.entity_id, item.intent.external_id
                home = partition_of(external_id, self.partitions)
                claims.append((keys.claim(home, entity_id, external_id), partition, (entity_id, external_id)))
        return claims

    def claimed_partition(self, entity_id: str, external_id: str) -> int | None:
        """The partition in which an external id was first seen, inside the window."""
        home = partition_of(external_id, self.partitions)
        with self._guarded():
            claimed: Any = self._client.get(keys.claim(home, entity_id, external_id))
        return None if claimed is None else int(claimed)

    def record(self, partition: int, entity_id: str, external_id: str) -> Record | None:
        """The idempotency record of an external id."""
        with self._guarded():
            text: Any = self._client.get(keys.record(partition, entity_id, external_id))
        return None if text is None else parse_record(text)

    # Hydrating

    def place_holder(self, account_ids: Iterable[str]) -> None:
        """Make sure that a settle finds these accounts, before the ledger is read for their hydration."""
        with self._guarded():
            pipeline = self._client.pipeline(transaction=False)
            for account_id in account_ids:
                pipeline.hsetnx(keys.account(self.partition_of(account_id), account_id), "entry_count", "-1")
            pipeline.execute()

    def hydrate(
        self,
        rows: Sequence[LedgerBalance],
        directory_version: int,
        open_holds: Mapping[str, Mapping[str, int]] | None = None,
    ) -> list[CachedBalance | None]:
        """Bring accounts' state from the ledger; the cache keeps whatever is newer.

        `open_holds` are the open authorizations by account and position. None stands for an account whose row was
        behind the cache: read the ledger again.
        """
        calls: list[tuple[Script, list[str], list[Any]]] = []
        for row in rows:
            partition = self.partition_of(row.account_id)
            names = [keys.account(partition, row.account_id)]
            floor = "" if row.floor_minor is None else row.floor_minor
            changed_at_ms = to_milliseconds(row.updated_at)
            args = [row.balance_minor, row.entry_count, row.version, floor, directory_version, changed_at_ms]
            for position, amount in (open_holds or {}).get(row.account_id, {}).items():
                args += [position, amount]
            calls.append((scripts.HYDRATE, names, args))
        return [None if reply[0] == "BEHIND" else _cached_balance(reply) for reply in self._run(calls)]

    def balance(self, account_id: str) -> CachedBalance | None:
        """An account's hot state; None while it is cold."""
        key = keys.account(self.partition_of(account_id), account_id)
        with self._guarded():
            reply: Any = self._client.hmget(key, "funds", "entry_count")
        return None if reply[0] is None else _cached_balance(reply)

    def limit(self, account_id: str, floor_minor: int | None, directory_version: int, mode: str) -> LimitReply:
        """Give an account another floor, in minor units; the modes `check`, `force`, `assign` are the script's."""
        names = [keys.account(self.partition_of(account_id), account_id)]
        floor = "" if floor_minor is None else floor_minor
        [reply] = self._run([(scripts.LIMIT, names, [floor, directory_version, mode])])
        return _limit_reply(reply)

    def directory_version(self, partition: int) -> int | None:
        """The directory version that callers of a partition must know; None where it has not been made ready."""
        with self._guarded():
            version: Any = self._client.get(keys.directory(partition))
        return None if version is None else int(version)

    def open_all(self, directory_version: int, last_posted: Mapping[int, str]) -> None:
        """Make all partitions ready, and have them ask for this directory version; `last_posted` by partition."""
        self._run(
            [
                (scripts.OPEN, _open_keys(partition), [directory_version, position])
                for partition, position in last_posted.items()
            ]
        )

    def open(self, partition: int, directory_version: int, last_posted: str) -> int:
        """Make a partition ready; returns the directory version in force there."""
        [reply] = self._run([(scripts.OPEN, _open_keys(partition), [directory_version, last_posted])])
        return int(reply)

    # Concluding

    def conclude(
        self,
        place: PaymentPosition,
        intent: Intent,
        state: HoldState,
        expires_at_ms: int,
        directory_version: int,
        holds_nothing: bool = False,
    ) -> ConcludeReply | Stale:
        """End the authorization at `place` by `intent`: captured or voided before its expiry, or expired after it.

        `holds_nothing` is said of an authorization that lets the balance rise.
        """
        partition = place.partition
        names = [
            keys.outbox(partition),
            keys.directory(partition),
            keys.awake(partition),
            keys.tally(partition),
            keys.account(partition, intent.guarded_account_id),
            keys.conclusion(partition, place.position),
        ]
        captured = intent.amount_minor if intent.moves_money else 0
        args = [
            directory_version,
            self.window_ms,
            self.backlog_limit,
            place.position,
            intent.hold_minor,
            _WHEN[state],
            expires_at_ms,
            f"{state}|{captured}",
            _encode_intent(intent),
            int(holds_nothing),
        ]
        [reply] = self._run([(scripts.CONCLUDE, names, args)])
        return _conclude_reply(reply)

    def conclusion(self, place: PaymentPosition) -> Conclusion | None:
        """How the authorization at a position ended, inside the window."""
        with self._guarded():
            text: Any = self._client.get(keys.conclusion(place.partition, place.position))
        return None if text is None else parse_conclusion(text)

    # Draining

    def backlog(self) -> dict[int, int]:
        """The number of unsettled intents, by partition."""
        with self._guarded():
            pipeline = self._client.pipeline(transaction=False)
            for partition in range(self.partitions):
                pipeline.xlen(keys.outbox(partition))
            return dict(enumerate(pipeline.execute()))

    def mark_awake(self) -> None:
        """Say that a drain is at work, so that nobody need wake one."""
        with self._guarded():
            pipeline = self._client.pipeline(transaction=False)
            for partition in range(self.partitions):
                pipeline.set(keys.awake(partition), "1", px=AWAKE_MS)
            pipeline.execute()

    def mark_asleep(self) -> None:
        """Take the mark away, before the last look of a drain that ends."""
        with self._guarded():
            pipeline = self._client.pipeline(transaction=False)
            for partition in range(self.partitions):
                pipeline.delete(keys.awake(partition))
            pipeline.execute()

    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]:
        """Up to `limit` intents of a partition, oldest first, those behind position `after`."""
        return self.outboxes({partition: after}, limit)[partition]

    def outboxes(self, after: Mapping[int, str], limit: int) -> dict[int, list[QueuedIntent]]:
        """Up to `limit` intents of each of these partitions, those behind its position in `after`.

        One command for all: it is what a drain asks most often. On a cluster it would be one a partition.
        """
        partitions = {keys.outbox(partition): partition for partition in after}
        streams: Any = {name: after[partition] for name, partition in partitions.items()}
        with self._guarded():
            replies: Any = self._client.xread(streams, count=limit)
        pages: dict[int, list[QueuedIntent]] = {partition: [] for partition in after}
        for name, entries in replies:
            partition = partitions[name]
            pages[partition] = [_queued(partition, position, fields) for position, fields in entries]
        return pages

    def pending(self, place: PaymentPosition) -> QueuedIntent | None:
        """The intent at a position; None once it has been settled."""
        if place.partition >= self.partitions:
            return None
        with self._guarded():
            entries: Any = self._client.xrange(keys.outbox(place.partition), place.position, place.position)
        return _queued(place.partition, *entries[0]) if entries else None

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
        """Assign the ledger's balances, drop holds, and then trim the outboxes and wake the waiters.

        Two round trips: nothing is trimmed before all that trims nothing was answered without an error. The last
        script tells the waiters of all partitions: each message costs every API process more than what it says.
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
            told = notices if parts is trips[-1] else []
            self._run([*map(_settle_call, parts[:-1]), _settle_call(parts[-1], told)])

    def announce(self, notice: Notice) -> None:
        """Tell the waiters something without settling."""
        with self._guarded():
            self._client.publish(keys.SETTLED_CHANNEL, _encode_notices([notice]))

    # Inspecting

    def cached_accounts(self, batch: int = 500) -> Iterator[tuple[int, list[str]]]:
        """The ids of all cached accounts, in batches of one partition; one that appears meanwhile may be missed."""
        found: dict[int, list[str]] = {}
        with self._guarded():
            for key in self._client.scan_iter(match=keys.pattern(keys.ACCOUNT), count=batch):
                place = keys.account_of(key)
                if place is None:
                    continue
                partition, account_id = place
                listed = found.setdefault(partition, [])
                listed.append(account_id)
                if len(listed) >= batch:
                    yield partition, found.pop(partition)
        yield from found.items()

    def inspect(self, partition: int, account_ids: Sequence[str]) -> list[InspectedAccount]:
        """One consistent look at accounts of one partition; cold ones are left out."""
        names = [keys.outbox(partition), *(keys.account(partition, account_id) for account_id in account_ids)]
        [reply] = self._run([(scripts.INSPECT, names, [])])
        inspected = []
        for account_id, (funds, entry_count, flat) in zip(account_ids, reply, strict=True):
            if funds is None:
                continue
            holds = {flat[n]: (int(flat[n + 1]), flat[n + 2] == "1") for n in range(0, len(flat), 3)}
            inspected.append(InspectedAccount(account_id, parse_funds(funds), int(entry_count), holds))
        return inspected

    def witness(self, partition: int, intents: Sequence[QueuedIntent]) -> list[tuple[QueuedIntent, int]]:
        """Those of these intents that still wait and are not held as they should be, with the amount held instead."""
        names = [keys.outbox(partition)]
        args: list[Any] = []
        for queued in intents:
            names.append(keys.account(partition, queued.intent.guarded_account_id))
            args += (queued.place.position, queued.intent.hold_minor)
        [reply] = self._run([(scripts.WITNESS, names, args)])
        return [(intents[reply[n] - 1], int(reply[n + 1])) for n in range(0, len(reply), 2)]

    def tallies(self) -> dict[str, int]:
        """Reserve outcomes counted since the cache was new."""
        with self._guarded():
            pipeline = self._client.pipeline(transaction=False)
            for partition in range(self.partitions):
                pipeline.hgetall(keys.tally(partition))
                pipeline.xinfo_stream(keys.outbox(partition))
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            totals: Counter[str] = Counter()
            for tally, outbox in zip(replies[::2], replies[1::2], strict=True):
                counted = Counter({} if _is_missing(tally) else {name: int(count) for name, count in tally.items()})
                entries = 0 if _is_missing(outbox) else outbox["entries-added"]
                counted[ReserveCode.RESERVED] = entries - sum(counted.pop(name, 0) for name in _NO_PAYMENTS)
                totals += counted
            return dict(totals)

    def ping(self) -> None:
        """Raise CacheUnavailable or OutcomeUnknown unless the cache answers."""
        with self._guarded():
            self._client.ping()

    def durability(self) -> tuple[str, str]:
        """The server's appendfsync (`no` without an append-only file) and its eviction policy."""
        with self._guarded():
            return durability_of(self._client)

    # Running scripts

    def _run(self, calls: Sequence[Call], after: Sequence[Command] = ()) -> list[Any]:
        """Run scripts in one round trip, after some plain commands; a server that lost the scripts gets them again."""
        with self._guarded():
            replies = self._round_trips.make([*after, *[script.command(*rest) for script, *rest in calls]])
            failed = [index for index, reply in enumerate(replies) if isinstance(reply, redis.RedisError)]
            for index in failed:
                if isinstance(replies[index], NoScriptError):
                    replies[index] = self._run_anew(*calls[index - len(after)])
            errors = [replies[index] for index in failed if isinstance(replies[index], redis.RedisError)]
            if errors and len(errors) < len(replies) and refused_before_running(errors[0]):
                raise OutcomeUnknown(f"a part of one round trip ran, another did not: {errors[0]}")
            if errors:
                raise errors[0]
        return replies

    def _commands(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that only look, in one round trip."""
        replies = self._round_trips.make(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _run_anew(self, script: Script, names: list[str], args: list[Any]) -> Any:
        _, reply = self._round_trips.make([("SCRIPT", "LOAD", script.source), script.command(names, args)])
        return reply

    def _guarded(self) -> AbstractContextManager[None]:
        """Raise the project's faults in place of the client's errors."""
        return _TRANSLATION


class _Translation(AbstractContextManager[None]):
    """Turns the client's errors into the project's faults. A class: it stands around every call, and a generator costs
    four times as much."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, CacheUnreachable):
            raise CacheUnavailable(str(error)) from error
        if isinstance(error, redis.RedisError):
            if refused_before_running(error):
                raise CacheUnavailable(str(error)) from error
            if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
                raise OutcomeUnknown(str(error)) from error


_TRANSLATION = _Translation()


def _chunks(settlement: PartitionSettlement) -> list[PartitionSettlement]:
    """The same in parts of so many accounts; the last part does the rest."""
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
    return scripts.SETTLE, names, args


def _elsewhere(claims: Sequence[Claim], firsts: Sequence[Any]) -> Elsewhere:
    """Those of some claims that another partition made before; `firsts` begin with what each key had, None if new."""
    return {
        key: int(first)
        for (_, partition, key), first in zip(claims, firsts, strict=False)
        if first is not None and int(first) != partition
    }


_WHEN = {HoldState.CAPTURED: "before", HoldState.VOIDED: "before", HoldState.EXPIRED: "after"}


def _conclude_reply(reply: Sequence[Any]) -> ConcludeReply | Stale:
    if reply[0] == "STALE":
        return Stale()
    code = ConcludeCode(reply[0])
    if code is ConcludeCode.CONCLUDED_BEFORE:
        return ConcludeReply(code, parse_conclusion(reply[1]))
    if code is ConcludeCode.CONCLUDED:
        return ConcludeReply(code, Conclusion(HoldState.AUTHORIZED, 0, reply[2]), int(reply[3]), reply[1] == 1)
    return ConcludeReply(code)


def _reserve_reply(reply: Any) -> ReserveReply | Failed | Stale:
    if reply[0] == "STALE":
        return Stale()
    if reply[0] == "FAILED":
        return Failed(reply[1] - 1, parse_decision(reply[2]))
    return ReserveReply(reply[1] == 1, [parse_decision(outcome) for outcome in reply[2:]])


_NO_PAYMENTS = ("concluded", "set_behind")
"""Entries of an outbox that the reserve script did not make; the others are what was reserved."""


def _is_missing(reply: Any) -> bool:
    """Whether a command failed for want of its key; any other failure is raised."""
    if isinstance(reply, redis.RedisError) and "no such key" not in str(reply):
        raise reply
    return isinstance(reply, redis.RedisError)


def _open_keys(partition: int) -> list[str]:
    return [keys.outbox(partition), keys.directory(partition), keys.tally(partition)]


def _limit_reply(reply: Sequence[str]) -> LimitReply:
    code = LimitCode(reply[0])
    if code is LimitCode.COLD:
        return LimitReply(code, None)
    return LimitReply(code, parse_funds(reply[1]))


def _cached_balance(fields: Sequence[str]) -> CachedBalance:
    funds, entry_count = fields
    return CachedBalance(parse_funds(funds), int(entry_count), parse_changed_at(funds))


def _queued(partition: int, position: str, fields: Mapping[str, str]) -> QueuedIntent:
    return QueuedIntent(PaymentPosition(partition, position), _decode_intent(fields["intent"]))
