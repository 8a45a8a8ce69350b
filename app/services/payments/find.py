"""Finding a payment by its id or external id: in the outbox, in the ledger, among the refusals."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Kind, OutboxPosition, parse_payment_id
from app.domain.payment_refusals import refused_for_funds
from app.domain.posting_plan import authorization_of
from app.domain.read_models import PostedPayment, RejectedPayment
from app.domain.refusals import Refusal
from app.services.payments.outcomes import funds_figures

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.history import History
    from app.ledger.transactions import LedgerAuthorizations


log = logging.getLogger(__name__)


@dataclass(slots=True)
class RefusedPayment:
    """An external id whose payment the cache refused, so that it has no payment id."""

    external_id: str
    refusal: Refusal


FoundPayment = QueuedIntent | PostedPayment | RejectedPayment | Authorization
"""A payment that has an id: pending, posted, rejected, or an authorization in any state."""


class PaymentFinder:
    """Looks for payments in the cache and in the ledger."""

    def __init__(self, cache: Cache, history: History, authorizations: LedgerAuthorizations) -> None:
        self._cache = cache
        self._history = history
        self._authorizations = authorizations

    def find(self, payment_id: str) -> FoundPayment | None:
        """A payment by its id, from the moment of its acknowledgement on.

        The outbox is read first and the ledger second: a payment leaves the outbox only once the ledger has it.
        """
        outbox_position = parse_payment_id(payment_id)
        if outbox_position is None:
            return None
        try:
            queued = self._cache.outbox.pending(outbox_position)
            concluded = self._cache.authorizations.conclusion(outbox_position)
        except (CacheUnavailable, OutcomeUnknown):
            log.warning("cache not reachable, looking for %s in the ledger only", payment_id)
            queued = concluded = None
        if queued is not None and queued.intent.kind == Kind.JOURNAL_HOLD:
            return None
        if queued is not None and queued.intent.kind != Kind.AUTHORIZATION:
            return queued
        posted = self._history.posted(payment_id)
        if posted is not None:
            return posted
        authorization = self._authorizations.get(payment_id) if queued is None else authorization_of(queued)
        if authorization is None:
            return self._history.rejected(payment_id)
        if concluded is None or authorization.state is not AuthorizationState.AUTHORIZED:
            return authorization
        end = OutboxPosition(outbox_position.partition, concluded.stream_id)
        return authorization.concluded_as(concluded.state, concluded.captured_minor, end)

    def find_by_external_id(self, entity_id: str, external_id: str) -> FoundPayment | RefusedPayment | None:
        """A payment by its external id; for one that the cache refused, the refusal, within the idempotency window."""
        posted = self._history.posted_by_external_id(entity_id, external_id)
        if posted is not None:
            return posted if posted.kind in (Kind.PAYMENT, Kind.CAPTURE) else None
        partition = self._cache.reservations.claimed_partition(entity_id, external_id)
        record = None if partition is None else self._cache.reservations.record(partition, entity_id, external_id)
        if record is not None and partition is not None:
            if record.stream_id is not None:
                return self.find(record.original_payment_id or OutboxPosition(partition, record.stream_id).payment_id)
            assert record.funds is not None
            return RefusedPayment(external_id, refused_for_funds(funds_figures(record.funds)))
        authorization = self._authorizations.by_external_id(entity_id, external_id)
        return authorization or self._history.rejected_by_external_id(entity_id, external_id)
