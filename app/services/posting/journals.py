"""Journals: posting, finding and reversing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.hash_chain import LedgerTransaction
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
from app.domain.payment import Kind
from app.domain.payment_checks import refuse_id, refuse_unknown
from app.domain.refusals import Refusal, RefusalCode
from app.services.accounts.directory import AccountDirectory, DirectorySnapshot
from app.services.posting.journal_posting import Done, JournalPoster

if TYPE_CHECKING:
    from app.ledger.transactions import LedgerTransactions


class Journals:
    """Posts journals and reversals, and finds them."""

    def __init__(self, register: LedgerTransactions, directory: AccountDirectory, poster: JournalPoster) -> None:
        self._register = register
        self._directory = directory
        self.poster = poster

    def post(self, request: JournalRequest, actor: str, *, dry_run: bool = False) -> Done | Refusal:
        """Post a journal, once; a dry run checks everything and writes nothing."""
        account_ids = request.account_ids
        facts = self._directory.snapshot().facts(account_ids)
        if refusal := refuse_journal_ids(request, facts) or refuse_unknown(account_ids, facts):
            return refusal
        order = journal_order(request, actor)

        def drafting(snapshot: DirectorySnapshot) -> Draft | Refusal:
            return draft_journal(request, order, snapshot.facts(account_ids))

        return self.poster.post(order, facts[account_ids[0]].entity_id, drafting, dry_run=dry_run)

    def reverse(
        self, journal_id: str, external_id: str, reason: str, actor: str, *, dry_run: bool = False
    ) -> Done | Refusal:
        """Undo a journal by its opposite, once; a dry run checks everything and writes nothing."""
        if refusal := refuse_id("external_id", external_id):
            return refusal
        original = self.find(journal_id)
        if original is None:
            return journal_not_found(journal_id)
        order = reversal_order(journal_id, external_id, reason, actor)

        def drafting(snapshot: DirectorySnapshot) -> Draft | Refusal:
            earlier = self.reversal_of(journal_id)
            if earlier is not None:
                return _already_reversed(journal_id, earlier)
            return draft_reversal(order, original, snapshot.facts([entry.account_id for entry in original.entries]))

        return self.poster.post(order, original.entity_id, drafting, dry_run=dry_run)

    def find(self, journal_id: str) -> LedgerTransaction | None:
        """A journal or a reversal; None where there is none."""
        found = self._register.get(journal_id)
        return found if found is not None and found.kind in JOURNAL_KINDS else None

    def reversal_of(self, journal_id: str) -> LedgerTransaction | None:
        """The reversal of a journal, where there is one."""
        return next(iter(self._register.related(journal_id, Kind.REVERSAL.value, limit=1)), None)


def journal_not_found(journal_id: str) -> Refusal:
    """The refusal where there is no such journal."""
    return Refusal(RefusalCode.JOURNAL_NOT_FOUND, f"There is no journal {journal_id!r}.", {"journal_id": journal_id})


def _already_reversed(journal_id: str, reversal: LedgerTransaction) -> Refusal:
    return Refusal(
        RefusalCode.JOURNAL_ALREADY_REVERSED,
        f"Journal {journal_id} was reversed by {reversal.payment_id}.",
        {"journal_id": journal_id, "reversed_by": reversal.payment_id},
    )
