"""Asking the reconciliation for something: a run, or the repair of an account, which is shown before it is asked for.

The work is done by the maintenance worker (`requested_proofs.py`), because a full run takes longer than any request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.domain.break_workflow import UNSETTLED, BreakFilter, BreakRecord, break_not_found, not_repairable
from app.domain.breaks import BreakKind
from app.domain.payment import OutboxPosition, parse_payment_id
from app.domain.proof_requests import ProofRequest, RepairPreview, RequestMode, preview_outdated
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Funds

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.domain.reservations import InspectedAccount
    from app.ledger.breaks import LedgerBreaks
    from app.ledger.proof_requests import LedgerProofRequests
    from app.ledger.repair_facts import LedgerRepairFacts

MOST_OF_ACCOUNT = 100
"""Open breaks of one account that its preview takes into account."""


class ProofRequests:
    """Asks for runs and repairs, and tells what has come of them."""

    def __init__(
        self,
        ledger: LedgerProofRequests,
        breaks: LedgerBreaks,
        facts: LedgerRepairFacts,
        cache: Cache,
        wake: Callable[[], None],
    ) -> None:
        """`wake` has the maintenance worker look at once."""
        self._ledger = ledger
        self._breaks = breaks
        self._facts = facts
        self._cache = cache
        self._wake = wake

    def ask_run(self, *, full: bool, actor: str) -> ProofRequest:
        """Ask for a run. One that was asked for and has not begun serves both who asked."""
        request = self._ledger.ask(RequestMode.FULL if full else RequestMode.INCREMENTAL, actor)
        self._wake()
        return request

    def get(self, request_id: int) -> ProofRequest | None:
        """One request; None if there is none."""
        return self._ledger.get(request_id)

    def unfinished(self) -> list[ProofRequest]:
        """What waits or is under way."""
        return self._ledger.unfinished()

    def of_break(self, break_id: int) -> list[ProofRequest]:
        """The repairs that were asked for a break, oldest first."""
        return self._ledger.of_break(break_id)

    def preview(self, break_id: int) -> RepairPreview | Refusal:
        """What the repair of a break would change, now. Nothing is changed."""
        record = self._breaks.get(break_id)
        if record is None:
            return break_not_found(str(break_id))
        return self._preview(record) if record.is_repairable else not_repairable(record)

    def ask_repair(self, break_id: int, reason: str, token: str, actor: str) -> ProofRequest | Refusal:
        """Ask for the repair that a preview with this token has shown; it is refused if it would be another one now."""
        preview = self.preview(break_id)
        if isinstance(preview, Refusal):
            return preview
        if preview.in_doubt:
            detail = "The ledger itself has an open break, so nothing is rebuilt from it. Settle that one first."
            return Refusal(RefusalCode.BREAK_NOT_REPAIRABLE, detail, {"break_id": str(break_id)})
        if preview.token != token:
            return preview_outdated(break_id)
        request = self._ledger.ask(
            RequestMode.REPAIR,
            actor,
            break_id=break_id,
            account_id=preview.account_id,
            reason=reason,
            preview=preview.as_record(),
        )
        self._wake()
        return request

    def _preview(self, record: BreakRecord) -> RepairPreview:
        """As `CacheRebuild` does it: the look at the cache comes before the reading of the ledger."""
        account_id = record.account_id
        assert account_id is not None
        partition = self._cache.partition_of(account_id)
        seen = next(iter(self._cache.inspection.inspect(partition, [account_id])), None)
        concluding = self._cache.outbox.concluding(partition)
        _, rows, authorizations = self._facts.for_hydration(account_id)
        row = rows.get(account_id)
        authorized = {
            payment_id: amount
            for stream_id, amount in authorizations.get(account_id, {}).items()
            if (payment_id := OutboxPosition(partition, stream_id).payment_id) not in concluding
        }
        waiting = self._waiting(partition, seen) | self._unheld(account_id, concluding)
        holds = waiting | authorized
        freed = {} if seen is None else _freed(partition, seen, holds)
        then, at_entry = None, None
        if row is not None:
            balance_minor, at_entry = row.balance_minor, row.entry_count
            at_seen = None if seen is None else self._facts.balance_at(account_id, seen.entry_count)
            if seen is not None and at_seen is not None:
                balance_minor, at_entry = at_seen, seen.entry_count
            version = max(row.version, seen.funds.version if seen is not None else 0) + 1
            then = Funds(balance_minor, sum(holds.values()), row.floor_minor, version)
        return RepairPreview(
            account_id=account_id,
            currency_code=record.currency_code,
            at_entry=at_entry,
            now=None if seen is None else seen.funds,
            then=then,
            holds=holds,
            freed=freed,
            in_doubt=self._facts.is_in_doubt(),
        )

    def _waiting(self, partition: int, seen: InspectedAccount | None) -> dict[str, int]:
        """What intents in the outbox hold, as the cache has it."""
        held = {} if seen is None else seen.holds
        return {
            OutboxPosition(partition, stream_id).payment_id: amount
            for stream_id, (amount, has_intent) in held.items()
            if has_intent
        }

    def _unheld(self, account_id: str, concluding: set[str]) -> dict[str, int]:
        """What intents should hold whose hold is missing or differs, as open breaks of the account say."""
        wanted = BreakFilter(states=UNSETTLED, kind=BreakKind.INTENT_WITHOUT_HOLD, account_id=account_id)
        found = self._breaks.page(wanted, limit=MOST_OF_ACCOUNT, after=0)
        return self._intended([one.subject for one in found if one.subject not in concluding])

    def _intended(self, payment_ids: Sequence[str]) -> dict[str, int]:
        positions = [position for one in payment_ids if (position := parse_payment_id(one))]
        queued = [intent for position in positions if (intent := self._cache.outbox.pending(position))]
        return {one.outbox_position.payment_id: one.intent.hold_minor for one in queued}


def _freed(partition: int, seen: InspectedAccount, holds: dict[str, int]) -> dict[str, int]:
    """The holds that nothing explains."""
    held = {OutboxPosition(partition, stream_id).payment_id: amount for stream_id, (amount, _) in seen.holds.items()}
    return {payment_id: amount for payment_id, amount in held.items() if payment_id not in holds}
