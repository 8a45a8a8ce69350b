"""Funds held in the cache for what is posted at once, and what becomes of them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.domain.clock import to_milliseconds
from app.domain.decisions import Decision, Failed, ReserveCode, ReserveItem, ReserveReply, Stale
from app.domain.faults import CacheUnavailable, ConcurrencyRetryExhausted, OutcomeUnknown
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent
from app.domain.posting import LedgerBalance, QueuedIntent
from app.domain.refusals import Refusal, RefusalCode
from app.domain.settlement import AccountSettlement
from app.services.payments import PASSES
from app.services.ports.funds import JournalFunds

log = logging.getLogger(__name__)

SETTLED_AT_ONCE = 50
"""Accounts a call: the holds of an account and their intents must go in the same one."""


@dataclass(slots=True)
class FundsMoved:
    """The facts were older than a partition's; nothing is held, and the draft must be made anew."""


class Holding:
    """Holds funds for a journal in every partition that guards one of its accounts, or in none."""

    def __init__(
        self, funds: JournalFunds, reopen: Callable[[int], None], hydrate: Callable[[Sequence[str]], object]
    ) -> None:
        self._funds = funds
        self._reopen = reopen
        self._hydrate = hydrate

    def hold(
        self, intents: Sequence[Intent], directory_version: int, *, dry_run: bool
    ) -> list[QueuedIntent] | Refusal | FundsMoved:
        """Hold what the intents say, and return them the first one first; where one partition refuses, the others let
        go. A dry run holds nothing.

        What a lost answer leaves held goes when the drain finds it.
        """
        held: list[QueuedIntent] = []
        groups = self._by_partition(intents)
        for _ in range(PASSES):
            calls = [(partition, [ReserveItem(one) for one in group]) for partition, group in groups.items()]
            replies = self._funds.reserve_unclaimed(calls, directory_version, atomic=True, dry_run=dry_run)
            answered = list(zip(groups.copy().items(), replies, strict=True))
            for (partition, group), reply in answered:
                if isinstance(reply, ReserveReply):
                    held += _placed(partition, group, reply)
                    del groups[partition]
            refusal = next((found for (_, group), reply in answered if (found := _refusal(group, reply))), None)
            stale = [partition for (partition, _), reply in answered if isinstance(reply, Stale)]
            if refusal is not None or stale:
                self.release([] if dry_run else held)
                for partition in stale:
                    self._reopen(partition)
                return refusal or FundsMoved()
            if not groups:
                return sorted(held, key=lambda one: one.intent is not intents[0])
            self._hydrate(sorted({one.guarded_account_id for group in groups.values() for one in group}))
        self.release([] if dry_run else held)
        raise ConcurrencyRetryExhausted("the cache does not keep the accounts; nothing was moved")

    def release(self, held: Sequence[QueuedIntent]) -> None:
        """Let go of what was held; what cannot be reached now the drain releases later."""
        for partition, chunk in self._chunks(held, {one.intent.guarded_account_id for one in held}):
            accounts = [
                # At entry 0 every account stands at zero: a state that no cached one is behind.
                AccountSettlement(account_id, 0, 0, 0, 0, released=positions)
                for account_id, positions in chunk
            ]
            self._settle(partition, accounts, [position for _, positions in chunk for position in positions])

    def settle(self, held: Sequence[QueuedIntent], balances: dict[str, LedgerBalance]) -> None:
        """Tell the cache what the books say of every account, and let go of what was held.

        The partition of the first hold comes last: it names all accounts, for whoever must finish this.
        """
        for partition, chunk in self._chunks(held, set(balances)):
            accounts = [_settlement(balances[account_id], positions) for account_id, positions in chunk]
            self._settle(partition, accounts, [position for _, positions in chunk for position in positions])

    def _settle(self, partition: int, accounts: Sequence[AccountSettlement], done: Sequence[str]) -> None:
        try:
            self._funds.settle(partition, accounts, done=done)
        except (CacheUnavailable, OutcomeUnknown) as fault:
            log.warning("holds of partition %d not settled, the drain will: %s", partition, fault)

    def _by_partition(self, intents: Sequence[Intent]) -> dict[int, list[Intent]]:
        groups: dict[int, list[Intent]] = {}
        for one in intents:
            groups.setdefault(self._funds.partition_of(one.guarded_account_id), []).append(one)
        return groups

    def _chunks(
        self, held: Sequence[QueuedIntent], account_ids: set[str]
    ) -> Iterator[tuple[int, list[tuple[str, list[str]]]]]:
        """Accounts with the positions held on them, a partition at a time, the first hold's account at the very end."""
        positions = {one.intent.guarded_account_id: one.place.position for one in held}
        last = held[0].intent.guarded_account_id if held else ""
        groups: dict[int, list[str]] = {}
        for account_id in sorted(account_ids, key=lambda one: (one == last, one)):
            groups.setdefault(self._funds.partition_of(account_id), []).append(account_id)
        home = self._funds.partition_of(last)
        for partition in sorted(groups, key=lambda one: one == home):
            group = groups[partition]
            for start in range(0, len(group), SETTLED_AT_ONCE):
                chunk = group[start : start + SETTLED_AT_ONCE]
                yield partition, [(one, [positions[one]] if one in positions else []) for one in chunk]


def _placed(partition: int, group: Sequence[Intent], reply: ReserveReply) -> list[QueuedIntent]:
    return [
        QueuedIntent(PaymentPosition(partition, decision.position or ""), intent)
        for intent, decision in zip(group, reply.decisions, strict=True)
    ]


def _settlement(row: LedgerBalance, positions: list[str]) -> AccountSettlement:
    updated_at_ms = to_milliseconds(row.updated_at)
    return AccountSettlement(
        row.account_id, row.balance_minor, row.entry_count, row.version, updated_at_ms, posted=positions
    )


def _refusal(group: Sequence[Intent], reply: ReserveReply | Failed | Stale) -> Refusal | None:
    if not isinstance(reply, Failed) or reply.decision.code is ReserveCode.COLD:
        return None
    return _refuse(group[reply.index], reply.decision)


def _refuse(intent: Intent, decision: Decision) -> Refusal:
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
        detail = f"Account {account_id!r} has {funds.available_minor} available, {intent.hold_minor} are needed."
        return Refusal(RefusalCode.INSUFFICIENT_FUNDS, f"{detail} Nothing was moved.", figures)
    if decision.code is ReserveCode.BALANCE_OUT_OF_RANGE:
        detail = f"The funds of account {account_id!r} would leave the range of ±(2^53 − 1)."
        return Refusal(RefusalCode.BALANCE_OUT_OF_RANGE, detail, figures)
    detail = "More payments wait for the books than the configured limit; nothing was moved. Retry."
    return Refusal(RefusalCode.LEDGER_BACKLOGGED, detail, figures)
