"""Proposed journals: enter one that a second person approves on the pages, follow it, and take it back."""

from typing import Annotated, Any

from msgspec import Struct

from app.api.entity_binding import require_visible_payment
from app.api.fields import Amount, Direction, Moment, direction_of, number_of, one_of
from app.api.journals import OF_NEW_JOURNAL, OF_REVERSAL, NewJournal, NewReversal, journal_request
from app.api.parameters import AFTER_NUMBER, LIMIT, LOCATION
from app.api.responses import Answer, json_answer, page_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.journal_proposals import JournalProposal, ProposalState
from app.domain.journal_refusals import proposal_not_found
from app.domain.journals import JOURNAL_KINDS
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()


class ProposedEntry(Struct):
    """One entry that would be posted; minor units."""

    account_id: str
    direction: Direction
    amount_minor: Amount
    currency_code: str


class ProposalBody(Struct):
    """A journal or a reversal that waits for a second person, or what was decided of it.

    `journal_id` is what it has become in the ledger; null unless it was approved.
    """

    proposal_id: str
    kind: Annotated[str, one_of(JOURNAL_KINDS)]
    state: Annotated[str, one_of([one.value for one in ProposalState])]
    external_id: str
    entity_id: str
    reason: str
    entries: list[ProposedEntry]
    effective_at: Moment | None
    metadata: dict[str, Any] | None
    relates_to: str | None
    entered_by: str
    entered_at: Moment
    decided_by: str | None
    decided_at: Moment | None
    decision_reason: str | None
    journal_id: str | None


@routes.add(
    "POST",
    "/v1/journal-proposals",
    "Propose a journal after a dry run; a person with the role controller approves it on the pages",
    scope=Scope.JOURNALS_WRITE,
    body=Body(NewJournal),
    answers={201: ProposalBody},
    sends=(LOCATION,),
    refuses=OF_NEW_JOURNAL,
)
def propose_journal(call: Call[NewJournal]) -> Answer:
    """Propose; the same again answers the proposal that waits."""
    require_visible_payment(call, call.body.relates_to_payment_id)
    return _proposed(call.here.approval.propose(journal_request(call), call.actor))


@routes.add(
    "POST",
    "/v1/journals/{journal_id}/reversal-proposals",
    "Propose the reversal of a journal",
    scope=Scope.JOURNALS_WRITE,
    body=Body(NewReversal),
    answers={201: ProposalBody},
    sends=(LOCATION,),
    refuses=OF_REVERSAL,
)
def propose_reversal(call: Call[NewReversal]) -> Answer:
    """Propose the opposite of a journal."""
    body = call.body
    asked = (call.path["journal_id"], body.external_id, body.reason, call.actor)
    return _proposed(call.here.approval.propose_reversal(*asked))


@routes.add(
    "GET",
    "/v1/journal-proposals",
    "List proposed journals, the newest first",
    scope=Scope.ACCOUNTS_READ,
    answers={200: ProposalBody},
    parameters=(LIMIT, AFTER_NUMBER),
    paged=True,
)
def list_proposals(call: Call[None]) -> Answer:
    """One page."""
    limit = call[LIMIT]
    entities = None if call.entities is None else sorted(call.entities)
    found = call.here.approval.ledger.page(limit=limit, before=call[AFTER_NUMBER] or None, entities=entities)
    return page_answer([_body(one) for one in found], limit, str(found[-1].proposal_id) if found else None)


@routes.add(
    "GET",
    "/v1/journal-proposals/{proposal_id}",
    "Read a proposed journal",
    scope=Scope.ACCOUNTS_READ,
    answers={200: ProposalBody},
    refuses=frozenset({Code.PROPOSAL_NOT_FOUND}),
)
def get_proposal(call: Call[None]) -> Answer:
    """One proposal."""
    found = _visible(call)
    return problem(found) if isinstance(found, Refusal) else json_answer(_body(found))


@routes.add(
    "POST",
    "/v1/journal-proposals/{proposal_id}/withdrawal",
    "Take back a journal that the same key has proposed",
    scope=Scope.JOURNALS_WRITE,
    answers={200: ProposalBody},
    refuses=frozenset({Code.PROPOSAL_NOT_FOUND, Code.PROPOSAL_DECIDED}),
)
def withdraw_proposal(call: Call[None]) -> Answer:
    """Withdraw it."""
    found = _visible(call)
    if isinstance(found, Refusal):
        return problem(found)
    outcome = call.here.approval.withdraw(found.proposal_id, None, call.actor)
    return problem(outcome) if isinstance(outcome, Refusal) else json_answer(_body(outcome))


def _visible(call: Call[Any]) -> JournalProposal | Refusal:
    """The proposal that the path names, if the key may see its entity."""
    number = number_of(call.path["proposal_id"])
    found = None if number is None else call.here.approval.ledger.get(number)
    is_there = found is not None and (call.entities is None or found.content.entity_id in call.entities)
    return found if found is not None and is_there else proposal_not_found(call.path["proposal_id"])


def _proposed(outcome: JournalProposal | Refusal) -> Answer:
    if isinstance(outcome, Refusal):
        return problem(outcome)
    return json_answer(_body(outcome), 201, ("location", f"/v1/journal-proposals/{outcome.proposal_id}"))


def _body(one: JournalProposal) -> ProposalBody:
    wanted = one.content
    return ProposalBody(
        proposal_id=str(one.proposal_id),
        kind=wanted.kind.value,
        state=one.state.value,
        external_id=wanted.external_id,
        entity_id=wanted.entity_id,
        reason=wanted.reason,
        entries=[
            ProposedEntry(line.account_id, direction_of(line.amount_minor), abs(line.amount_minor), line.currency_code)
            for line in wanted.lines
        ],
        effective_at=None if wanted.effective_at is None else rfc3339(wanted.effective_at),
        metadata=None if wanted.metadata is None else dict(wanted.metadata),
        relates_to=wanted.relates_to,
        entered_by=one.entered_by,
        entered_at=rfc3339(one.entered_at),
        decided_by=one.decided_by,
        decided_at=None if one.decided_at is None else rfc3339(one.decided_at),
        decision_reason=one.decision_reason,
        journal_id=one.journal_id,
    )
