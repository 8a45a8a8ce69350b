"""Repairing: rebuilding the cache from the ledger, where a reconciliation has found that it differs.

Explicit and recorded: somebody asks for it and says why, and the ledger keeps that before anything is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ProofReport
from app.domain.payment import parse_payment_id
from app.services.proofs.rebuild import CacheRebuild
from app.services.proofs.reconciliation import Reconciler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.reconciliation import LedgerReconciliation


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
        """Reconcile in full, rebuild what is wrong in the cache, and reconcile again.

        The cache is rebuilt from the ledger, so the ledger must be right first: a break of its own stops it all.
        """
        found = self._reconciler.run(full=True, heal=False)
        in_doubt = [one for one in found.breaks if one.kind not in OF_THE_CACHE]
        if in_doubt or not found.breaks:
            return RepairReport(found, in_doubt=in_doubt)
        repaired: dict[str, list[Break]] = {}
        for one in found.breaks:
            account_id = self._account_of(one)
            if account_id is not None:
                repaired.setdefault(account_id, []).append(one)
        for account_id, breaks in repaired.items():
            self._records.record_repair(account_id, breaks, actor, reason)
            unheld = [one.subject for one in breaks if one.kind is BreakKind.INTENT_WITHOUT_HOLD]
            self._rebuild.rebuild(account_id, unheld)
        return RepairReport(self._reconciler.run(full=True), repaired)

    def _account_of(self, found: Break) -> str | None:
        """The account that a break is about; None where its intent has left the outbox, and the break with it."""
        if found.kind is BreakKind.INTENT_WITHOUT_HOLD:
            outbox_position = parse_payment_id(found.subject)
            queued = self._cache.outbox.pending(outbox_position) if outbox_position else None
            return queued.intent.guarded_account_id if queued else None
        if found.kind in (BreakKind.HOLD_WITHOUT_INTENT, BreakKind.AUTHORIZATION_WITHOUT_HOLD):
            return found.subject.rpartition("#")[0]
        return found.subject
