"""The funds that a journal takes, held in the cache while the ledger is written.

Each hold has an intent in an outbox. So if the process that posts the journal is killed, the drain finds the hold and
settles or rejects it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.ledger_rows import LedgerBalance, QueuedIntent
from app.domain.payment import Intent, OutboxPosition
from app.domain.payment_refusals import balance_out_of_range, insufficient_funds, ledger_backlogged
from app.domain.refusals import Refusal
from app.domain.reservations import Decision, Failed, Funds, ReserveCode, ReserveItem, ReserveReply, Stale
from app.domain.settlement import AccountSettlement
from app.domain.timestamps import to_milliseconds
from app.services.payments.decide import NotReady

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.services.payments.held_back import HeldBack


log = logging.getLogger(__name__)

SETTLED_AT_ONCE = 50
"""Accounts in one call to settle. The holds of an account and their intents must go in the same call."""


class JournalHolds:
    """Holds funds for a journal in every partition that guards one of its accounts, or in none."""

    def __init__(self, cache: Cache, held_back: HeldBack) -> None:
        self._cache = cache
        self._held_back = held_back

    def hold(
        self, intents: Sequence[Intent], directory_version: int, *, movement: str, dry_run: bool
    ) -> list[QueuedIntent] | Refusal:
        """Hold what the intents say, and return them as queued, the first one first. A dry run holds nothing.

        `movement` is what the funds are held for, as a refusal names it. If one partition does not hold, the others
        release what they hold; raises NotReady if the next attempt may succeed. If an answer is lost, the drain
        releases what was held.
        """
        groups = self._by_partition(intents)
        calls = [(partition, [ReserveItem(one) for one in group]) for partition, group in groups.items()]
        replies = self._cache.reservations.reserve_unclaimed(calls, directory_version, atomic=True, dry_run=dry_run)
        answered = list(zip(groups.items(), replies, strict=True))
        held = [one for (partition, group), reply in answered for one in _held_in(partition, group, reply)]
        if len(held) == len(intents):
            return sorted(held, key=lambda one: one.intent is not intents[0])
        self.release([] if dry_run else held)
        for (_, group), reply in answered:
            if isinstance(reply, Failed) and reply.decision.code is not ReserveCode.COLD:
                return self._refuse(group[reply.index], reply.decision, movement)
        cold = [group for (_, group), reply in answered if isinstance(reply, Failed)]
        raise NotReady(
            stale_partitions=[partition for (partition, _), reply in answered if isinstance(reply, Stale)],
            cold_account_ids={one.guarded_account_id for group in cold for one in group},
        )

    def release(self, held: Sequence[QueuedIntent]) -> None:
        """Release what was held; if the cache does not answer now, the drain releases it later."""
        for partition, chunk in self._chunks(held, {one.intent.guarded_account_id for one in held}):
            accounts = [
                # At entry 0 every account has zero: no cached account is older, so its balance stays as it is.
                AccountSettlement(account_id, 0, 0, 0, 0, released=stream_ids)
                for account_id, stream_ids in chunk
            ]
            self._settle(partition, accounts, [stream_id for _, stream_ids in chunk for stream_id in stream_ids])

    def settle(self, held: Sequence[QueuedIntent], balances: dict[str, LedgerBalance]) -> None:
        """Tell the cache what the ledger says of every account, and release what was held.

        The partition of the first hold comes last: its intent names all accounts, so a drain can finish the settlement.
        """
        for partition, chunk in self._chunks(held, set(balances)):
            accounts = [_settlement(balances[account_id], stream_ids) for account_id, stream_ids in chunk]
            self._settle(partition, accounts, [stream_id for _, stream_ids in chunk for stream_id in stream_ids])

    def _settle(self, partition: int, accounts: Sequence[AccountSettlement], done: Sequence[str]) -> None:
        try:
            self._cache.outbox.settle(partition, accounts, done=done)
        except (CacheUnavailable, OutcomeUnknown) as fault:
            log.warning("holds of partition %d not settled, the drain will: %s", partition, fault)

    def _refuse(self, intent: Intent, decision: Decision, movement: str) -> Refusal:
        account_id, funds = intent.guarded_account_id, decision.funds
        assert funds is not None
        figures: dict[str, object] = {
            "account_id": account_id,
            "amount_minor": intent.hold_minor,
            "balance_minor": funds.balance_minor,
            "held_minor": funds.held_minor,
            "floor_minor": funds.floor_minor,
            "available_minor": funds.available_minor,
        }
        if decision.code is ReserveCode.INSUFFICIENT_FUNDS:
            return insufficient_funds(
                account_id,
                funds.available_minor,
                intent.hold_minor,
                figures,
                movement=movement,
                advice="Nothing was moved.",
                is_held_back=self._may_come_free(intent, decision, funds),
            )
        if decision.code is ReserveCode.BALANCE_OUT_OF_RANGE:
            return balance_out_of_range(account_id, figures)
        return ledger_backlogged(figures)

    def _may_come_free(self, intent: Intent, decision: Decision, funds: Funds) -> bool:
        return (
            funds.would_do_unheld(intent.hold_minor)
            and self._held_back.may_come_free([(ReserveItem(intent), decision)])[0]
        )

    def _by_partition(self, intents: Sequence[Intent]) -> dict[int, list[Intent]]:
        groups: dict[int, list[Intent]] = {}
        for one in intents:
            groups.setdefault(self._cache.partition_of(one.guarded_account_id), []).append(one)
        return groups

    def _chunks(
        self, held: Sequence[QueuedIntent], account_ids: set[str]
    ) -> Iterator[tuple[int, list[tuple[str, list[str]]]]]:
        """Accounts with their holds, one partition at a time; the account of the first hold comes last."""
        stream_ids = {one.intent.guarded_account_id: one.outbox_position.stream_id for one in held}
        last = held[0].intent.guarded_account_id if held else ""
        groups: dict[int, list[str]] = {}
        for account_id in sorted(account_ids, key=lambda one: (one == last, one)):
            groups.setdefault(self._cache.partition_of(account_id), []).append(account_id)
        home = self._cache.partition_of(last)
        for partition in sorted(groups, key=lambda one: one == home):
            group = groups[partition]
            for start in range(0, len(group), SETTLED_AT_ONCE):
                chunk = group[start : start + SETTLED_AT_ONCE]
                yield partition, [(one, [stream_ids[one]] if one in stream_ids else []) for one in chunk]


def _held_in(partition: int, group: Sequence[Intent], reply: ReserveReply | Failed | Stale) -> list[QueuedIntent]:
    """The intents that a partition holds now; none if it refused, or did not decide."""
    if not isinstance(reply, ReserveReply):
        return []
    return [
        QueuedIntent(OutboxPosition(partition, decision.stream_id or ""), intent)
        for intent, decision in zip(group, reply.decisions, strict=True)
    ]


def _settlement(row: LedgerBalance, stream_ids: list[str]) -> AccountSettlement:
    updated_at_ms = to_milliseconds(row.updated_at)
    return AccountSettlement(
        row.account_id, row.balance_minor, row.entry_count, row.version, updated_at_ms, posted=stream_ids
    )
