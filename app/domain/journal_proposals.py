"""Journals that wait for a second person: what was entered, and what was decided of it.

The person who enters a journal cannot approve it. An approval posts it; until then nothing of it is in the ledger's
accounts, and it holds no funds. A proposal is decided once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.actors import USER_ACTOR
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_refusals import proposal_decided, second_person_needed
from app.domain.journals import JournalLine, JournalRequest
from app.domain.payment import Kind
from app.domain.refusals import Refusal
from app.domain.users import Role, User

ENTERED_BY = "entered_by"
"""Where the metadata of an approved journal names who entered it; its actor is who approved it."""


class ApprovalMode(StrEnum):
    """Whose journals need a second person."""

    NONE = "none"
    PEOPLE = "people"
    """Those that people enter on the pages; API keys post at once."""
    ALL = "all"
    """Those of API keys too, which enter them and cannot post."""


def needs_approval(mode: ApprovalMode, actor: str) -> bool:
    """Whether what this actor enters waits for a second person."""
    return mode is ApprovalMode.ALL or (mode is ApprovalMode.PEOPLE and actor.startswith(USER_ACTOR))


class ProposalState(StrEnum):
    """What became of a proposal."""

    WAITING = "waiting"
    APPROVED = "approved"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"


@dataclass(slots=True, frozen=True)
class ProposedLine:
    """One line; minor units, debit positive."""

    account_id: str
    amount_minor: int
    currency_code: str


@dataclass(slots=True, frozen=True)
class ProposedJournal:
    """A journal or a reversal as it is entered."""

    entity_id: str
    kind: Kind
    external_id: str
    lines: Sequence[ProposedLine]
    reason: str
    effective_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None
    relates_to: str | None = None
    """The payment that a journal gives back, or the journal that a reversal undoes."""


@dataclass(slots=True, frozen=True)
class JournalProposal:
    """A proposal on record; without a decision it waits."""

    proposal_id: int
    content: ProposedJournal
    entered_by: str
    entered_at: datetime
    state: ProposalState = ProposalState.WAITING
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str | None = None
    journal_id: str | None = None
    """The journal that was posted."""

    @property
    def request(self) -> JournalRequest:
        """What is posted on approval."""
        wanted = self.content
        lines = [JournalLine(one.account_id, one.amount_minor > 0, abs(one.amount_minor)) for one in wanted.lines]
        return JournalRequest(
            wanted.external_id, lines, wanted.reason, wanted.effective_at, self.sealed_metadata, wanted.relates_to
        )

    @property
    def sealed_metadata(self) -> dict[str, Any]:
        """The metadata with who entered it, which the hash chain then covers."""
        return {**(self.content.metadata or {}), ENTERED_BY: self.entered_by}


def proposal_of(outcome: LedgerTransaction, request: JournalRequest | None) -> ProposedJournal:
    """The proposal of what a dry run would have posted; without a `request` it is a reversal."""
    return ProposedJournal(
        entity_id=outcome.entity_id,
        kind=Kind(outcome.kind),
        external_id=outcome.external_id,
        lines=[ProposedLine(one.account_id, one.amount_minor, one.currency_code) for one in outcome.entries],
        reason=outcome.description or "",
        effective_at=None if request is None else request.effective_at,
        metadata=None if request is None else request.metadata,
        relates_to=outcome.relates_to,
    )


def refuse_decision(proposal: JournalProposal) -> Refusal | None:
    """Refuse a second decision."""
    return None if proposal.state is ProposalState.WAITING else decided_already(proposal)


def decided_already(proposal: JournalProposal) -> Refusal:
    """The refusal of a decision on a proposal that has one."""
    return proposal_decided(proposal.proposal_id, proposal.state.value, proposal.decided_by or "", proposal.journal_id)


def refuse_approval(proposal: JournalProposal, person: User) -> Refusal | None:
    """Refuse a person who may not approve or return a proposal: the one who entered it, or one without the role."""
    if person.actor == proposal.entered_by or not person.role.may_act_as(Role.CONTROLLER):
        return second_person_needed(proposal.proposal_id, proposal.entered_by)
    return refuse_decision(proposal)


# Templates


@dataclass(slots=True, frozen=True)
class TemplateLine:
    """A line to enter again; without an amount (minor units) it is typed each time."""

    account_id: str
    is_debit: bool
    amount_minor: int | None = None


@dataclass(slots=True, frozen=True)
class JournalTemplate:
    """Lines and a reason that are entered again and again. It posts nothing by itself."""

    name: str
    lines: Sequence[TemplateLine]
    reason: str
    version: int = 0
    saved_by: str = ""
    saved_at: datetime | None = None

    @property
    def is_retired(self) -> bool:
        """Whether it is offered no more: its last version has no lines."""
        return not self.lines


MAX_TEMPLATE_NAME = 100
