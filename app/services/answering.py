"""What a payment is answered: by the script's decision, by the record of an earlier one, or by the books."""

import logging
from dataclasses import replace

from app.domain.accounts import AccountFacts
from app.domain.decisions import Decision, Record, RecordState, ReserveCode, ReserveItem
from app.domain.faults import BooksUnavailable
from app.domain.fingerprints import refuse_reused
from app.domain.holds import Hold
from app.domain.partitions import PaymentPosition, parse_payment_id
from app.domain.payments import Intent, PaymentRequest
from app.domain.preparing import prepare
from app.domain.refusals import Refusal, RefusalCode
from app.services.answers import Accepted, refuse_funds
from app.services.finding import Finding

log = logging.getLogger(__name__)


class Answering(Finding):
    """Answers to payments, over the cache and the books."""

    def outcome(
        self, partition: int, item: ReserveItem, decision: Decision, first_partition: int | None
    ) -> Accepted | Refusal:
        """What a decision of the script answers; `first_partition` claimed the external id before, elsewhere."""
        intent = item.intent
        if decision.code is ReserveCode.RESERVED:
            if first_partition is not None:
                reused = self.reused_elsewhere(intent, first_partition)
                if reused is not None:
                    return reused
            assert decision.position is not None
            return Accepted(PaymentPosition(partition, decision.position), intent, decision.version, decision.funds)
        if decision.code is ReserveCode.REPLAYED:
            assert decision.record is not None
            return self._replay(partition, intent, decision.record)
        if decision.code is ReserveCode.REUSED:
            assert decision.record is not None
            return refuse_reused(intent, decision.record.fingerprint)
        assert decision.funds is not None
        return self._unless_in_books(intent, refuse_funds(decision.code, item, decision.funds))

    def _replay(self, partition: int, intent: Intent, record: Record) -> Accepted | Refusal:
        """The recorded answer to the same request."""
        if record.state is RecordState.REFUSED:
            assert record.funds is not None
            refusal = refuse_funds(ReserveCode.INSUFFICIENT_FUNDS, ReserveItem(intent), record.funds)
            return self._unless_in_books(intent, replace(refusal, replayed=True))
        if record.state is RecordState.DUPLICATE:
            place = parse_payment_id(record.original_payment_id or "")
            assert place is not None
            return Accepted(place, intent, None, replayed=True, posted=True)
        assert record.position is not None
        place = PaymentPosition(partition, record.position)
        if record.state is RecordState.REJECTED:
            return self.rejection(place, intent, replayed=True)
        return Accepted(place, intent, record.version, record.funds, replayed=True)

    def _unless_in_books(self, intent: Intent, refusal: Refusal) -> Accepted | Refusal:
        """A refusal, unless the books have the payment: the cache has forgotten it, and its funds are long spent.

        Only refusals pay for this look. While the books are out of reach the refusal stands.
        """
        if refusal.code is RefusalCode.LEDGER_BACKLOGGED:
            return refusal
        try:
            posted = self._history.posted_by_external_id(intent.entity_id, intent.external_id)
            known = posted or self._holds.by_external_id(intent.entity_id, intent.external_id)
        except BooksUnavailable:
            log.warning("books not reachable, external_id %s refused by the cache alone", intent.external_id)
            return refusal
        if known is None:
            return refusal
        if known.fingerprint != intent.fingerprint:
            return refuse_reused(intent, known.fingerprint)
        place = parse_payment_id(known.payment_id)
        assert place is not None
        return Accepted(place, intent, None, replayed=True, posted=True)

    def rejection(self, place: PaymentPosition, intent: Intent | Hold, *, replayed: bool) -> Refusal:
        """Why the books rejected the intent at a place."""
        rejected = self._history.rejected(place.payment_id)
        if rejected is None:
            return Refusal(
                RefusalCode.REJECTED_BY_LEDGER,
                f"The books rejected payment {place.payment_id}.",
                {"payment_id": place.payment_id, "external_id": intent.external_id},
                replayed,
            )
        refusal = rejected.refusal
        return Refusal(refusal.code, refusal.detail, {**refusal.figures, "payment_id": place.payment_id}, replayed)

    def reused_elsewhere(self, intent: Intent, first_partition: int) -> Refusal | None:
        """Refuse an external id that another partition has seen with other content.

        The intent just reserved needs no undoing: the drain looks at the same claim and record, rejects it, and
        releases its hold.
        """
        record = self._funds.record(first_partition, intent.entity_id, intent.external_id)
        if record is None or record.fingerprint == intent.fingerprint:
            return None
        return refuse_reused(intent, record.fingerprint)

    def replay_or(
        self, request: PaymentRequest, facts: dict[str, AccountFacts], refusal: Refusal
    ) -> Refusal | Accepted:
        """A refusal, unless the same payment was accepted before the account's state barred it."""
        if refusal.code not in (RefusalCode.ACCOUNT_FROZEN, RefusalCode.ACCOUNT_CLOSED):
            return refusal
        open_facts = {account_id: account.as_open() for account_id, account in facts.items()}
        intent = prepare(request, open_facts, "")
        if isinstance(intent, Refusal):
            return refusal
        partition = self._funds.partition_of(intent.guarded_account_id)
        record = self._funds.record(partition, intent.entity_id, intent.external_id)
        if record is None or record.fingerprint != intent.fingerprint:
            return refusal
        return self._replay(partition, intent, record)
