"""Proposed journals in the ledger: entering them, decisions on them, and reading them.

An approval is not written here: the transaction that posts the journal writes it (`locked_posting.py`).
"""

from typing import Any

from sqlalchemy import Connection, Engine, Select, func, insert, select

from app.domain.audit import Action
from app.domain.journal_proposals import JournalProposal, ProposalState, ProposedJournal, ProposedLine
from app.domain.origin import note_recorded
from app.domain.payment import Kind
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.journal_schema import journal_decision, journal_proposal

_ACTIONS = {ProposalState.RETURNED: Action.JOURNAL_RETURN, ProposalState.WITHDRAWN: Action.JOURNAL_WITHDRAW}
_PROPOSALS = select(
    *journal_proposal.c,
    journal_decision.c.decision,
    journal_decision.c.decided_by,
    journal_decision.c.decided_at,
    journal_decision.c.reason.label("decision_reason"),
    journal_decision.c.journal_id,
).outerjoin(journal_decision, journal_decision.c.proposal_id == journal_proposal.c.proposal_id)


class LedgerJournalProposals:
    """The proposals and their decisions; each entry and each decision is recorded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Reading

    def get(self, proposal_id: int) -> JournalProposal | None:
        """One proposal; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_PROPOSALS.where(journal_proposal.c.proposal_id == proposal_id)).first()
        return None if row is None else _proposal(row)

    def page(
        self, *, limit: int, before: int | None, is_waiting: bool | None = None, entities: list[str] | None = None
    ) -> list[JournalProposal]:
        """Up to `limit` proposals, the newest first, those before `before`; with `entities` only theirs."""
        query = _PROPOSALS.order_by(journal_proposal.c.proposal_id.desc()).limit(limit)
        if before is not None:
            query = query.where(journal_proposal.c.proposal_id < before)
        if is_waiting is not None:
            missing = journal_decision.c.proposal_id.is_(None)
            query = query.where(missing if is_waiting else ~missing)
        if entities is not None:
            query = query.where(journal_proposal.c.entity_id == any_of(entities))
        with translated(), self._engine.connect() as connection:
            return [_proposal(row) for row in connection.execute(query)]

    def by_journals(self, journal_ids: list[str]) -> dict[str, JournalProposal]:
        """The proposals that these journals were, by journal."""
        query = _PROPOSALS.where(journal_decision.c.journal_id == any_of(journal_ids))
        with translated(), self._engine.connect() as connection:
            found = [_proposal(row) for row in connection.execute(query)]
        return {one.journal_id: one for one in found if one.journal_id is not None}

    # Writing

    def enter(self, content: ProposedJournal, actor: str) -> JournalProposal:
        """Keep a proposal. One that waits under its external id is answered instead; the caller compares them."""
        with translated(), self._engine.begin() as connection:
            lock = f"journal proposal {content.entity_id} {content.external_id}"
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
            waiting = connection.execute(_waiting(content)).first()
            if waiting is not None:
                return _proposal(waiting)
            proposal = _entered(connection, content, actor)
        note_recorded()
        return proposal

    def decide(self, proposal_id: int, state: ProposalState, reason: str | None, actor: str) -> JournalProposal | None:
        """Return or withdraw a proposal; None if it was decided before."""
        values = {"proposal_id": proposal_id, "decision": state.value, "decided_by": actor, "reason": reason}
        with translated(), self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_DECISIONS, proposal_id % 2**31)))
            row = connection.execute(_PROPOSALS.where(journal_proposal.c.proposal_id == proposal_id)).one()
            if row.decision is not None:
                return None
            connection.execute(insert(journal_decision).values(**values))
            ids = {"entity_id": row.entity_id, "external_id": row.external_id}
            record_change(connection.exec_driver_sql, _ACTIONS[state], actor, **ids, result=values)
            decided = connection.execute(_PROPOSALS.where(journal_proposal.c.proposal_id == proposal_id)).one()
        note_recorded()
        return _proposal(decided)


_DECISIONS = 477_020
"""The locks' class, any number of our own."""


def _waiting(content: ProposedJournal) -> Select[Any]:
    return _PROPOSALS.where(
        journal_proposal.c.entity_id == content.entity_id,
        journal_proposal.c.external_id == content.external_id,
        journal_decision.c.proposal_id.is_(None),
    )


def _entered(connection: Connection, content: ProposedJournal, actor: str) -> JournalProposal:
    values = {
        "entity_id": content.entity_id,
        "kind": content.kind.value,
        "external_id": content.external_id,
        "lines": [[one.account_id, one.amount_minor, one.currency_code] for one in content.lines],
        "reason": content.reason,
        "effective_at": content.effective_at,
        "metadata": content.metadata,
        "relates_to": content.relates_to,
        "entered_by": actor,
    }
    columns = (journal_proposal.c.proposal_id, journal_proposal.c.entered_at)
    row = connection.execute(insert(journal_proposal).values(**values).returning(*columns)).one()
    record_change(
        connection.exec_driver_sql,
        Action.JOURNAL_PROPOSE,
        actor,
        entity_id=content.entity_id,
        external_id=content.external_id,
        result={"proposal_id": row.proposal_id, **values},
    )
    return JournalProposal(row.proposal_id, content, actor, row.entered_at)


def _proposal(row: Any) -> JournalProposal:
    content = ProposedJournal(
        row.entity_id,
        Kind(row.kind),
        row.external_id,
        [ProposedLine(*line) for line in row.lines],
        row.reason,
        row.effective_at,
        row.metadata,
        row.relates_to,
    )
    return JournalProposal(
        proposal_id=row.proposal_id,
        content=content,
        entered_by=row.entered_by,
        entered_at=row.entered_at,
        state=ProposalState.WAITING if row.decision is None else ProposalState(row.decision),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        decision_reason=row.decision_reason,
        journal_id=row.journal_id,
    )
