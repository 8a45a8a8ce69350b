"""Repairing: rebuilding accounts in the cache from the ledger, under load, where the cache differs.

A repair is explicit and recorded: somebody asks for it and says why, and the ledger keeps that before anything is
changed. A reconciliation rebuilds by itself the accounts that lag behind the ledger. Either way an account goes from
wrong to right in one script call, and what is reserved meanwhile is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ProofReport
from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.payment import OutboxPosition, parse_payment_id

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.reconciliation import LedgerReconciliation
    from app.services.proofs.reconciliation import Reconciler


PASSES = 1_000
"""A payment between the look at an account and its assignment asks for another pass; a pass takes milliseconds."""


@dataclass(slots=True)
class RepairReport:
    """What was rebuilt, and the proof behind it. With breaks `in_doubt`, which are the ledger's own, nothing was."""

    proof: ProofReport
    repaired: dict[str, list[Break]] = field(default_factory=dict)
    in_doubt: list[Break] = field(default_factory=list)


class Repair:
    """Rebuilds accounts in the cache where a full run has found them wrong."""

    def __init__(self, reconciler: Reconciler, cache: Cache, ledger: LedgerReconciliation) -> None:
        self._reconciler = reconciler
        self._cache = cache
        self._records = ledger.records
        self._rebuild = CacheRebuild(cache, ledger)

    def run(self, actor: str, reason: str) -> RepairReport:
        """Reconcile in full, rebuild what is wrong in the cache, and reconcile in full again.

        The cache is rebuilt from the ledger, so the ledger must be right first: a break of its own stops it all.
        """
        report = self._repaired(actor, reason)
        if report.repaired:
            report.proof = self._reconciler.run(full=True)
        return report

    def run_account(self, account_id: str, actor: str, reason: str) -> RepairReport:
        """The same for one account alone; afterwards it is looked at again, like all that open breaks are about."""
        report = self._repaired(actor, reason, account_id)
        if report.repaired:
            report.proof = self._reconciler.run(full=False, heal=False, asked_by=actor)
        return report

    def _repaired(self, actor: str, reason: str, only: str | None = None) -> RepairReport:
        """Reconcile in full, and rebuild the accounts that are wrong, or the one of them that is meant."""
        found = self._reconciler.run(full=True, heal=False, asked_by=actor)
        in_doubt = [one for one in found.breaks if one.kind not in OF_THE_CACHE]
        repaired: dict[str, list[Break]] = {}
        for one in () if in_doubt else found.breaks:
            account_id = self._account_of(one)
            if account_id is not None and only in (None, account_id):
                repaired.setdefault(account_id, []).append(one)
        for account_id, breaks in repaired.items():
            self._records.record_repair(account_id, breaks, actor, reason)
            unheld = [one.subject for one in breaks if one.kind is BreakKind.INTENT_WITHOUT_HOLD]
            self._rebuild.rebuild(account_id, unheld)
        return RepairReport(found, repaired, in_doubt)

    def _account_of(self, found: Break) -> str | None:
        """The account that a break is about; None where its intent has left the outbox, and the break with it."""
        if found.kind is BreakKind.INTENT_WITHOUT_HOLD:
            outbox_position = parse_payment_id(found.subject)
            queued = self._cache.outbox.pending(outbox_position) if outbox_position else None
            return queued.intent.guarded_account_id if queued else None
        if found.kind in (BreakKind.HOLD_WITHOUT_INTENT, BreakKind.AUTHORIZATION_WITHOUT_HOLD):
            return found.subject.rpartition("#")[0]
        return found.subject


class CacheRebuild:
    """Rebuilds accounts in the cache."""

    def __init__(self, cache: Cache, ledger: LedgerReconciliation) -> None:
        self._cache = cache
        self._ledger = ledger

    def rebuild(self, account_id: str, unheld: Sequence[str] = ()) -> None:
        """Rebuild an account; `unheld` are payment ids of waiting intents whose hold is wrong.

        The look comes before the reading: the ledger can tell what the cache has heard of by then.
        """
        partition = self._cache.partition_of(account_id)
        for _ in range(PASSES):
            seen = next(iter(self._cache.inspection.inspect(partition, [account_id])), None)
            concluding = self._cache.outbox.concluding(partition)
            directory_version, rows, authorizations = self._ledger.balances_for_hydration([account_id])
            if account_id not in rows:
                self._cache.accounts.forget(account_id)
                return
            open_holds = {
                stream_id: amount
                for stream_id, amount in authorizations.get(account_id, {}).items()
                if OutboxPosition(partition, stream_id).payment_id not in concluding
            }
            intents = self._intended(unheld, concluding)
            if self._cache.accounts.rebuild(seen, rows[account_id], directory_version, open_holds, intents):
                return
        raise ConcurrencyRetryExhausted(f"account {account_id} keeps changing; nothing was done to it")

    def _intended(self, payment_ids: Sequence[str], concluding: set[str]) -> Mapping[str, int]:
        """What these payments hold while they wait; what was concluded meanwhile holds nothing."""
        outbox_positions = [
            outbox_position
            for one in payment_ids
            if one not in concluding and (outbox_position := parse_payment_id(one))
        ]
        waiting = [
            queued for outbox_position in outbox_positions if (queued := self._cache.outbox.pending(outbox_position))
        ]
        return {queued.outbox_position.stream_id: queued.intent.hold_minor for queued in waiting}
