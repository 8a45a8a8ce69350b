"""Repairing: making the cache anew from the books, where a reconciliation has found that it differs.

Explicit and recorded: somebody asks for it and says why, and the books keep that before anything is changed. It is done
under load: an account goes from wrong to right in one script call, and what is reserved meanwhile is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ProofReport
from app.domain.errors import ConcurrencyRetryExhausted
from app.domain.payment import OutboxPosition, parse_payment_id
from app.services.proofs.reconciliation import Reconciler

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.accounts import LedgerAccounts
    from app.ledger.reconciliation import LedgerReconciliation


PASSES = 1_000
"""A payment between the look at an account and its assignment asks for another pass; a pass takes milliseconds."""


@dataclass(slots=True)
class RepairReport:
    """What was made anew, and the proof behind it. With breaks `in_doubt`, which are the books' own, nothing was."""

    proof: ProofReport
    repaired: dict[str, list[Break]] = field(default_factory=dict)
    in_doubt: list[Break] = field(default_factory=list)


class Repair:
    """Makes accounts anew in the cache."""

    def __init__(
        self, reconciler: Reconciler, cache: Cache, balances: LedgerAccounts, records: LedgerReconciliation
    ) -> None:
        self._reconciler = reconciler
        self._cache = cache
        self._balances = balances
        self._records = records

    def run(self, actor: str, reason: str) -> RepairReport:
        """Reconcile in full, make anew what is wrong in the cache, and reconcile again.

        The cache is made from the books, so the books must be right first: a break of theirs stops it all.
        """
        found = self._reconciler.run(full=True)
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
            self._rebuild(account_id, [one.subject for one in breaks if one.kind is BreakKind.INTENT_WITHOUT_HOLD])
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

    def _rebuild(self, account_id: str, unheld: Sequence[str]) -> None:
        """The look comes before the reading: what the cache has heard of by then, the books can tell."""
        partition = self._cache.partition_of(account_id)
        for _ in range(PASSES):
            seen = next(iter(self._cache.inspection.inspect(partition, [account_id])), None)
            concluding = self._cache.outbox.concluding(partition)
            directory_version, rows, authorizations = self._balances.balances_for_hydration([account_id])
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
