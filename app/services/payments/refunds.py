"""Refunds: giving a posted payment back, whole or in parts, and never more than was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_refusals import payment_not_posted
from app.domain.journals import Draft, Order
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Kind, OutboxPosition, parse_payment_id
from app.domain.payment_checks import refuse_amount, refuse_id
from app.domain.payment_refusals import payment_not_found
from app.domain.read_models import PostedPayment
from app.domain.refunds import draft_refund, is_refund_repeated, refund_order, remaining_of
from app.domain.refusals import Refusal
from app.services.accounts.directory import DirectorySnapshot
from app.services.payments.durable_wait import DurableWait
from app.services.payments.outcomes import FoundPayment, PaymentFinder
from app.services.posting.journal_posting import JournalPoster, PostedJournal

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.transactions import LedgerTransactions


PATIENCE_S = 5.0
"""How long a refund waits for its payment to be posted, which takes milliseconds while a drain runs."""


class Refunds:
    """Posts refunds, and lists those of a payment."""

    def __init__(
        self,
        cache: Cache,
        register: LedgerTransactions,
        finder: PaymentFinder,
        durable_wait: DurableWait,
        poster: JournalPoster,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._cache = cache
        self._register = register
        self._finder = finder
        self._durable_wait = durable_wait
        self._poster = poster
        self.patience_s = patience_s

    def refund(
        self,
        payment_id: str,
        external_id: str,
        amount_minor: int | None,
        reason: str | None,
        actor: str,
        *,
        dry_run: bool = False,
    ) -> PostedJournal | Refusal:
        """Refund a payment, all that remains of it or `amount_minor`; waits for a payment that is still pending.

        A dry run checks everything and writes nothing.
        """
        refusal = refuse_id("external_id", external_id)
        if refusal is None and amount_minor is not None:
            refusal = refuse_amount(amount_minor)
        if refusal is not None:
            return refusal
        original = self.posted_payment(payment_id)
        if isinstance(original, Refusal):
            return original
        order = refund_order(original.payment_id, external_id, amount_minor, reason, actor)

        def drafting(snapshot: DirectorySnapshot) -> Draft | Refusal:
            returned = self._register.returned(original.payment_id, original.destination_ids)
            facts = snapshot.facts([leg.account_id for leg in original.legs])
            return draft_refund(order, original, returned, amount_minor, facts)

        def is_repeat(order: Order, posted: LedgerTransaction) -> bool:
            left_nothing = amount_minor is None and self._left_nothing(original, posted)
            return is_refund_repeated(order, posted, asked_minor=amount_minor, left_nothing=left_nothing)

        return self._poster.post(order, original.entity_id, drafting, dry_run=dry_run, is_repeat=is_repeat)

    def _left_nothing(self, original: PostedPayment, refund: LedgerTransaction) -> bool:
        """Whether nothing of a payment remained after one of its refunds."""
        returned = self._register.returned(original.payment_id, original.destination_ids, refund.chain_seq)
        return not any(remaining_of(original, returned))

    def page(self, payment_id: str, *, limit: int, after: int) -> list[LedgerTransaction] | Refusal:
        """Up to `limit` refunds of a payment, oldest first, those after the chain_seq `after`."""
        found = self._finder.find(payment_id)
        if found is None:
            return payment_not_found(payment_id)
        original_id = found.payment_id if isinstance(found, PostedPayment) else payment_id
        return self._register.related(original_id, Kind.REFUND.value, limit=limit, after=after)

    def posted_payment(self, payment_id: str) -> PostedPayment | Refusal:
        """The payment in the ledger; waits for one that is still pending."""
        found = self._finder.find(payment_id)
        outbox_position = self._pending_position(found)
        if outbox_position is not None:
            self._durable_wait.wait(outbox_position, self.patience_s)
            found = self._finder.find(payment_id)
        if isinstance(found, PostedPayment):
            return found
        return payment_not_found(payment_id) if found is None else payment_not_posted(payment_id, _status_of(found))

    def _pending_position(self, found: FoundPayment | None) -> OutboxPosition | None:
        """The outbox position of the intent whose posting makes this payment refundable; None if there is none."""
        if isinstance(found, QueuedIntent):
            return found.outbox_position
        if not isinstance(found, Authorization) or found.state is not AuthorizationState.CAPTURED:
            return None
        authorized_at = parse_payment_id(found.payment_id)
        conclusion = None if authorized_at is None else self._cache.authorizations.conclusion(authorized_at)
        if authorized_at is None or conclusion is None:
            return None
        return OutboxPosition(authorized_at.partition, conclusion.stream_id)


def _status_of(found: FoundPayment) -> str:
    """The status of a payment that is not posted."""
    if isinstance(found, Authorization):
        return found.state.value
    return "pending" if isinstance(found, QueuedIntent) else "rejected"
