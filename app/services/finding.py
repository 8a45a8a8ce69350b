"""Finding payments: in the outbox, in the books, and among what was refused."""

import logging

from app.domain.advancing import authorized_hold
from app.domain.books import PostedPayment, RejectedPayment
from app.domain.faults import CacheUnavailable, OutcomeUnknown
from app.domain.holds import Hold, HoldState
from app.domain.partitions import PaymentPosition, parse_payment_id
from app.domain.payments import Kind
from app.domain.posting import QueuedIntent
from app.domain.refusals import Refusal, RefusalCode
from app.services.answers import RefusedPayment, funds_figures
from app.services.ports.books import HoldRegister, PaymentHistory
from app.services.ports.funds import ReserveFunds

log = logging.getLogger(__name__)


class Finding:
    """Looks for payments by their ids."""

    def __init__(self, funds: ReserveFunds, history: PaymentHistory, holds: HoldRegister) -> None:
        self._funds = funds
        self._history = history
        self._holds = holds

    def find(self, payment_id: str) -> QueuedIntent | PostedPayment | RejectedPayment | Hold | None:
        """A payment by its id, from the moment of its acknowledgement on.

        The outbox first and the books after it: a payment leaves the one only when it is in the other.
        """
        place = parse_payment_id(payment_id)
        if place is None:
            return None
        try:
            queued = self._funds.pending(place)
            concluded = self._funds.conclusion(place)
        except (CacheUnavailable, OutcomeUnknown):
            log.warning("cache not reachable, looking for %s in the books only", payment_id)
            queued = concluded = None
        if queued is not None and queued.intent.kind == Kind.JOURNAL_HOLD:
            return None
        if queued is not None and queued.intent.kind != Kind.AUTHORIZATION:
            return queued
        posted = self._history.posted(payment_id)
        if posted is not None:
            return posted
        hold = self._holds.get(payment_id) if queued is None else authorized_hold(queued)
        if hold is None:
            return self._history.rejected(payment_id)
        if concluded is None or hold.state is not HoldState.AUTHORIZED:
            return hold
        return hold.concluded_as(concluded.state, concluded.captured_minor)

    def find_by_external_id(
        self, entity_id: str, external_id: str
    ) -> QueuedIntent | PostedPayment | RejectedPayment | Hold | RefusedPayment | None:
        """A payment by its external id; of a refused one the refusal, while the idempotency window lasts."""
        posted = self._history.posted_by_external_id(entity_id, external_id)
        if posted is not None:
            return posted if posted.kind in (Kind.PAYMENT, Kind.CAPTURE) else None
        partition = self._funds.claimed_partition(entity_id, external_id)
        record = None if partition is None else self._funds.record(partition, entity_id, external_id)
        if record is not None and partition is not None:
            if record.position is not None:
                return self.find(record.original_payment_id or PaymentPosition(partition, record.position).payment_id)
            assert record.funds is not None
            refusal = Refusal(RefusalCode.INSUFFICIENT_FUNDS, "Refused for lack of funds.", funds_figures(record.funds))
            return RefusedPayment(external_id, refusal)
        hold = self._holds.by_external_id(entity_id, external_id)
        return hold or self._history.rejected_by_external_id(entity_id, external_id)
