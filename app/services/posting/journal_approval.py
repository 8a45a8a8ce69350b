"""Four eyes: one person enters a journal, another approves it, and only then it is posted.

A proposal passes a dry run when it is entered, and all checks again when it is approved: balances, limits and freezes
are those of that moment. The approval and the journal are written by one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.journal_proposals import (
    ApprovalMode,
    JournalProposal,
    ProposalState,
    decided_already,
    proposal_of,
    refuse_approval,
    refuse_decision,
)
from app.domain.journal_refusals import (
    not_own_proposal,
    posted_already,
    posted_without_approval,
    proposal_not_found,
    proposed_already,
)
from app.domain.journals import JournalRequest
from app.domain.refusals import Refusal
from app.domain.users import User
from app.services.posting.journal_posting import PostedJournal
from app.services.posting.journals import Journals

if TYPE_CHECKING:
    from app.ledger.journal_proposals import LedgerJournalProposals


class JournalApproval:
    """Enters proposals, and decides them; `mode` says whose journals need it."""

    def __init__(self, ledger: LedgerJournalProposals, journals: Journals, mode: ApprovalMode) -> None:
        self.ledger = ledger
        self._journals = journals
        self.mode = mode

    def propose(self, request: JournalRequest, actor: str) -> JournalProposal | Refusal:
        """Enter a journal after a dry run; the same again answers the proposal that waits."""
        tried = self._journals.post(request, actor, dry_run=True)
        return tried if isinstance(tried, Refusal) else self._enter(tried, request, actor)

    def propose_reversal(self, journal_id: str, external_id: str, reason: str, actor: str) -> JournalProposal | Refusal:
        """Enter the reversal of a journal after a dry run."""
        tried = self._journals.reverse(journal_id, external_id, reason, actor, dry_run=True)
        return tried if isinstance(tried, Refusal) else self._enter(tried, None, actor)

    def _enter(self, tried: PostedJournal, request: JournalRequest | None, actor: str) -> JournalProposal | Refusal:
        if tried.replayed:
            return posted_already(tried.transaction.external_id, tried.transaction.payment_id)
        content = proposal_of(tried.transaction, request)
        proposal = self.ledger.enter(content, actor)
        if (proposal.content, proposal.entered_by) != (content, actor):
            return proposed_already(content.external_id, proposal.proposal_id, proposal.entered_by)
        return proposal

    def approve(self, proposal_id: int, person: User) -> PostedJournal | Refusal:
        """Post a proposal that somebody else has entered."""
        proposal = self.ledger.get(proposal_id)
        if proposal is None:
            return proposal_not_found(proposal_id)
        if refusal := refuse_approval(proposal, person):
            return refusal
        outcome = self._journals.post_approved(proposal, person.actor)
        if isinstance(outcome, PostedJournal) and outcome.replayed:
            return self._posted_before(proposal, outcome)
        return outcome

    def _posted_before(self, proposal: JournalProposal, outcome: PostedJournal) -> PostedJournal | Refusal:
        """What the ledger had already: by this proposal, in another window, or in another way."""
        now = self.ledger.get(proposal.proposal_id)
        if now is not None and now.journal_id == outcome.transaction.payment_id:
            return outcome
        return posted_without_approval(proposal.proposal_id, outcome.transaction.payment_id)

    def try_again(self, proposal: JournalProposal, actor: str) -> PostedJournal | Refusal:
        """What approving a proposal would do now; nothing is written."""
        return self._journals.post_approved(proposal, actor, dry_run=True)

    def give_back(self, proposal_id: int, reason: str, person: User) -> JournalProposal | Refusal:
        """Return a proposal to the one who entered it; it is not posted."""
        proposal = self.ledger.get(proposal_id)
        if proposal is None:
            return proposal_not_found(proposal_id)
        return refuse_approval(proposal, person) or self._decide(proposal, ProposalState.RETURNED, reason, person.actor)

    def withdraw(self, proposal_id: int, reason: str | None, actor: str) -> JournalProposal | Refusal:
        """Take one's own proposal back."""
        proposal = self.ledger.get(proposal_id)
        if proposal is None:
            return proposal_not_found(proposal_id)
        if proposal.entered_by != actor:
            return not_own_proposal(proposal_id, proposal.entered_by)
        return refuse_decision(proposal) or self._decide(proposal, ProposalState.WITHDRAWN, reason, actor)

    def _decide(
        self, proposal: JournalProposal, state: ProposalState, reason: str | None, actor: str
    ) -> JournalProposal | Refusal:
        decided = self.ledger.decide(proposal.proposal_id, state, reason, actor)
        if decided is not None:
            return decided
        return decided_already(self.ledger.get(proposal.proposal_id) or proposal)
