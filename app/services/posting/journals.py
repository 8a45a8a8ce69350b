"""Journals: posting, finding and reversing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_proposals import ApprovalMode, JournalProposal, needs_approval
from app.domain.journal_refusals import approval_needed, journal_already_reversed, journal_not_found
from app.domain.journals import (
    JOURNAL_KINDS,
    Draft,
    JournalRequest,
    draft_journal,
    draft_reversal,
    journal_order,
    refuse_journal_ids,
    reversal_order,
)
from app.domain.ledger_rows import PaymentReturn
from app.domain.payment import Kind
from app.domain.payment_checks import refuse_id, refuse_unknown
from app.domain.payment_refusals import entity_mismatch
from app.domain.read_models import PostedPayment
from app.domain.refunds import returns_by_journal, undone
from app.domain.refusals import Refusal
from app.services.accounts.directory import AccountDirectory, DirectorySnapshot
from app.services.posting.journal_posting import JournalPoster, PostedJournal

if TYPE_CHECKING:
    from app.ledger.transactions import LedgerTransactions


class Journals:
    """Posts journals and reversals, and finds them."""

    def __init__(
        self,
        register: LedgerTransactions,
        directory: AccountDirectory,
        poster: JournalPoster,
        posted_payment: Callable[[str], PostedPayment | Refusal],
        approval: ApprovalMode = ApprovalMode.NONE,
    ) -> None:
        """`posted_payment` finds the payment that a journal gives back, and waits for one that is pending.

        `approval` says whose journals are posted only when a second person has approved them.
        """
        self._register = register
        self._directory = directory
        self.poster = poster
        self._posted_payment = posted_payment
        self._approval = approval

    def post_approved(self, proposal: JournalProposal, actor: str, *, dry_run: bool = False) -> PostedJournal | Refusal:
        """Post what was proposed, and record in the same transaction that the actor approves it."""
        wanted = proposal.content
        if wanted.kind is Kind.JOURNAL:
            return self.post(proposal.request, actor, dry_run=dry_run, approved=proposal)
        return self.reverse(
            wanted.relates_to or "", wanted.external_id, wanted.reason, actor, dry_run=dry_run, approved=proposal
        )

    def post(
        self, request: JournalRequest, actor: str, *, dry_run: bool = False, approved: JournalProposal | None = None
    ) -> PostedJournal | Refusal:
        """Post a journal, once; a dry run checks everything and writes nothing.

        A journal that names a payment lowers what is refundable of it by what it gives back to the payment's source.
        """
        if not dry_run and approved is None and needs_approval(self._approval, actor):
            return approval_needed()
        account_ids = request.account_ids
        facts = self._directory.snapshot().facts(account_ids, request.entities)
        if refusal := refuse_journal_ids(request, facts) or refuse_unknown(account_ids, facts):
            return refusal
        payment = None if request.payment_id is None else self._posted_payment(request.payment_id)
        if isinstance(payment, Refusal):
            return payment
        order = journal_order(request if payment is None else replace(request, payment_id=payment.payment_id), actor)

        def drafting(snapshot: DirectorySnapshot) -> Draft | Refusal:
            draft = draft_journal(request, order, snapshot.facts(account_ids))
            if approved is not None and isinstance(draft, Draft):
                draft.approves = approved.proposal_id
            return draft if payment is None or isinstance(draft, Refusal) else self._giving_back(payment, draft)

        return self.poster.post(order, facts[account_ids[0]].entity_id, drafting, dry_run=dry_run)

    def reverse(
        self,
        journal_id: str,
        external_id: str,
        reason: str,
        actor: str,
        *,
        dry_run: bool = False,
        approved: JournalProposal | None = None,
    ) -> PostedJournal | Refusal:
        """Undo a journal by its opposite, once; a dry run checks everything and writes nothing."""
        if not dry_run and approved is None and needs_approval(self._approval, actor):
            return approval_needed()
        if refusal := refuse_id("external_id", external_id):
            return refusal
        original = self.find(journal_id)
        if original is None:
            return journal_not_found(journal_id)
        returns = self._register.returns_of(original)
        gives_back = returns[0].payment_id if returns else None
        order = reversal_order(journal_id, external_id, reason, actor, gives_back)

        def drafting(snapshot: DirectorySnapshot) -> Draft | Refusal:
            earlier = self.reversal_of(journal_id)
            if earlier is not None:
                return journal_already_reversed(journal_id, earlier.payment_id)
            facts = snapshot.facts([entry.account_id for entry in original.entries])
            draft = draft_reversal(order, original, facts, self._undone(returns))
            if approved is not None and isinstance(draft, Draft):
                draft.approves, draft.metadata = approved.proposal_id, approved.sealed_metadata
            return draft

        return self.poster.post(order, original.entity_id, drafting, dry_run=dry_run)

    def _giving_back(self, payment: PostedPayment, draft: Draft) -> Draft | Refusal:
        """A draft with what it gives back of a payment, under the lock of the payment."""
        if payment.entity_id != draft.entity_id:
            return entity_mismatch(journal_entity_id=draft.entity_id, payment_entity_id=payment.entity_id)
        returned = self._register.returned(payment.payment_id, payment.destination_ids)
        returns = returns_by_journal(payment, returned, draft.legs)
        return returns if isinstance(returns, Refusal) else replace(draft, returns=returns)

    def _undone(self, returns: Sequence[PaymentReturn]) -> list[PaymentReturn]:
        if not returns:
            return []
        returned = self._register.returned(returns[0].payment_id, [one.account_id for one in returns])
        return undone(returns, returned)

    def find(self, journal_id: str) -> LedgerTransaction | None:
        """A journal or a reversal; None if there is none."""
        found = self._register.get(journal_id)
        return found if found is not None and found.kind in JOURNAL_KINDS else None

    def reversal_of(self, journal_id: str) -> LedgerTransaction | None:
        """The reversal of a journal; None if there is none."""
        return next(iter(self._register.related(journal_id, Kind.REVERSAL.value, limit=1)), None)
