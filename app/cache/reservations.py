"""Reservations: payments decided by `lua/reserve.lua`, and the claims and records of their external ids.

A claim names the partition that saw an external id first. It is one plain command, SET with NX and GET, and needs no
script. A claim gives an early and friendly refusal when the same id comes to another partition with other content.
Exactly-once does not rest on it: the ledger's unique key on the external id lets only one payment post, even if a claim
has expired or was lost with the cache.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from app.cache import keys
from app.cache.client import CacheClient, Call, Command
from app.cache.codec import encode_intent, encode_refusal, parse_decision, parse_record
from app.cache.metrics import RESERVE_SECONDS
from app.domain.payment import Intent, partition_of
from app.domain.reservations import (
    Decision,
    EarlierClaims,
    Failed,
    Record,
    ReserveItem,
    ReserveReply,
    Stale,
)

Group = tuple[int, Sequence[ReserveItem]]
"""A partition and the payments that it decides in one script call."""


class HasIntent(Protocol):
    """A payment to decide, or one in the outbox."""

    @property
    def intent(self) -> Intent: ...


Claim = tuple[str, int, tuple[str, str]]
"""A claim: its key, the partition that claims, entity and external id."""


class Reservations:
    """Decisions about payments, and what the cache remembers of external ids."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def reserve(
        self, groups: Sequence[Group], directory_version: int
    ) -> tuple[list[ReserveReply | Stale], EarlierClaims]:
        """Decide payments one by one in one round trip, with one script call per partition.

        Also claims their external ids; returns the claims that another partition made before.
        """
        self._client.require_fit()
        calls = self._reserve_calls(groups, directory_version, atomic=False, dry_run=False)
        claims = self._claims(groups)
        # The claims go first: a drain that sees an intent must also see the claim of its external id.
        with RESERVE_SECONDS.time():
            replies = self._client.run(calls, after=self._claim_commands(claims))
        decided = [reply for reply in map(_reserve_reply, replies[len(claims) :]) if not isinstance(reply, Failed)]
        return decided, _elsewhere(claims, replies)

    def reserve_unclaimed(
        self, groups: Sequence[Group], directory_version: int, *, atomic: bool = False, dry_run: bool = False
    ) -> list[ReserveReply | Failed | Stale]:
        """Decide as `reserve` does, but claim nothing. `atomic`: each group as a whole or not at all; `dry_run`: write
        nothing, and answer what would have happened."""
        self._client.require_fit()
        calls = self._reserve_calls(groups, directory_version, atomic=atomic, dry_run=dry_run)
        with RESERVE_SECONDS.time():
            replies = self._client.run(calls)
        return [_reserve_reply(reply) for reply in replies]

    def claim(self, groups: Sequence[Group]) -> EarlierClaims:
        """Claim the payments' external ids; returns the claims that another partition made before."""
        claims = self._claims(groups)
        return _elsewhere(claims, self._client.run([], after=self._claim_commands(claims)))

    def claimed_elsewhere(self, groups: Sequence[tuple[int, Sequence[HasIntent]]]) -> EarlierClaims:
        """What `claim` would return, without claiming."""
        claims = self._claims(groups)
        if not claims:
            return {}
        with self._client.translated():
            # A cluster would need one command per partition.
            [firsts] = self._client.look([("MGET", *(name for name, _, _ in claims))])
        return _elsewhere(claims, firsts)

    def _reserve_calls(
        self, groups: Sequence[Group], directory_version: int, *, atomic: bool, dry_run: bool
    ) -> list[Call]:
        fixed = [directory_version, self._client.window_ms, self._client.backlog_limit, int(atomic), int(dry_run)]
        calls: list[Call] = []
        for partition, items in groups:
            names, payment_args = self._reserve_arguments(partition, items)
            calls.append((keys.RESERVE, names, fixed + payment_args))
        return calls

    def _claim_commands(self, claims: Sequence[Claim]) -> list[Command]:
        """Set each claim that does not exist yet, and answer the one that does."""
        window_ms = self._client.window_ms
        return [("SET", name, partition, "NX", "GET", "PX", window_ms) for name, partition, _ in claims]

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
            fingerprints = "".join((intent.fingerprint, *intent.former_fingerprints))
            payment_args += (index, intent.hold_minor, expected, fingerprints, encode_intent(intent))
        fixed_keys = [keys.outbox(partition), keys.awake(partition), keys.tally(partition), keys.directory(partition)]
        return fixed_keys + record_keys + account_keys, payment_args

    def _claims(self, groups: Sequence[tuple[int, Sequence[HasIntent]]]) -> list[Claim]:
        """The claims of the external ids of payments, in their order."""
        claims: list[Claim] = []
        for partition, items in groups:
            for item in items:
                entity_id, external_id = item.intent.entity_id, item.intent.external_id
                home = partition_of(external_id, self._client.partitions)
                claims.append((keys.claim(home, entity_id, external_id), partition, (entity_id, external_id)))
        return claims

    def claimed_partition(self, entity_id: str, external_id: str) -> int | None:
        """The partition that first saw an external id; None if that was before the idempotency window."""
        home = partition_of(external_id, self._client.partitions)
        with self._client.translated():
            claimed: Any = self._client.redis.get(keys.claim(home, entity_id, external_id))
        return None if claimed is None else int(claimed)

    def record_refusals(self, refused: Sequence[tuple[ReserveItem, Decision]]) -> list[Record | None]:
        """Record refusals for lack of funds that the script left unrecorded, in one round trip.

        For each, the answer is the record that its external id has got meanwhile and keeps; None if there was none.
        """
        window_ms = self._client.window_ms
        commands: list[Command] = []
        for item, decision in refused:
            intent = item.intent
            name = keys.record(
                self._client.partition_of(intent.guarded_account_id), intent.entity_id, intent.external_id
            )
            commands.append(("SET", name, encode_refusal(intent, decision.funds_text), "NX", "GET", "PX", window_ms))
        replies = self._client.run([], after=commands)
        return [None if text is None else parse_record(text) for text in replies]

    def record(self, partition: int, entity_id: str, external_id: str) -> Record | None:
        """The idempotency record of an external id; None if there is none in the window."""
        with self._client.translated():
            text: Any = self._client.redis.get(keys.record(partition, entity_id, external_id))
        return None if text is None else parse_record(text)


def _elsewhere(claims: Sequence[Claim], firsts: Sequence[Any]) -> EarlierClaims:
    """The claims that another partition made before; `firsts` begins with the old value of each key, None if new."""
    return {
        key: int(first)
        for (_, partition, key), first in zip(claims, firsts, strict=False)
        if first is not None and int(first) != partition
    }


def _reserve_reply(reply: Any) -> ReserveReply | Failed | Stale:
    if reply[0] == "STALE":
        return Stale()
    if reply[0] == "FAILED":
        return Failed(reply[1] - 1, parse_decision(reply[2]))
    return ReserveReply(reply[1] == 1, [parse_decision(outcome) for outcome in reply[2:]])
