"""What people decide about matches: match, confirm, undo, split, and post the journal that a match implies.

A journal is posted first, under an id that is made of what is matched, and then matched. If something comes in between,
the same decision again finds the journal and goes on. Where journals need a second person, the decision enters the
journal, and is made again once somebody has approved it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from hashlib import sha256
from typing import TYPE_CHECKING

from app.domain.journal_proposals import needs_approval
from app.domain.journals import JournalLine, JournalRequest
from app.domain.match_records import BY_HAND, MatchRecord, MatchState, NewMatch, StatementAccount
from app.domain.match_refusals import (
    journal_waits,
    match_not_found,
    nothing_to_match,
    nothing_to_post,
    statement_account_not_found,
    wrong_state,
)
from app.domain.refusals import Refusal

if TYPE_CHECKING:
    from app.ledger.match_reads import LedgerMatchReads
    from app.ledger.matches import LedgerMatches
    from app.ledger.statement_accounts import LedgerStatementAccounts
    from app.services.posting.journal_approval import JournalApproval
    from app.services.posting.journals import Journals

WITH_JOURNAL = "By hand, with a journal"


class MatchDecisions:
    """Carries out what people decide; every one has a reason, which is kept."""

    def __init__(
        self,
        accounts: LedgerStatementAccounts,
        matches: LedgerMatches,
        reads: LedgerMatchReads,
        journals: Journals,
        approval: JournalApproval,
    ) -> None:
        self._accounts = accounts
        self._matches = matches
        self.reads = reads
        self._journals = journals
        self._approval = approval

    def match(
        self, wanted: NewMatch, actor: str, *, journal_account_id: str = "", accepts_difference: bool = False
    ) -> MatchRecord | Refusal:
        """Match lines and entries.

        With `journal_account_id`, what they differ by is posted as a journal between that account and the ledger's
        account of the bank, such as a fee that the bank has taken.
        """
        if not journal_account_id:
            return self._record(self._matches.make(wanted, actor, accepts_difference=accepts_difference))
        sides = self._sides(wanted)
        if isinstance(sides, Refusal):
            return sides
        account, difference, last_on = sides
        completed = self._with_journal(account, wanted, difference, last_on, journal_account_id, actor)
        if isinstance(completed, Refusal):
            return completed
        return self._record(self._matches.make(completed, actor))

    def journal_to_post(self, wanted: NewMatch, actor: str, *, journal_account_id: str) -> JournalRequest | Refusal:
        """The journal that matching these with `journal_account_id` would post, by a dry run."""
        sides = self._sides(wanted)
        if isinstance(sides, Refusal):
            return sides
        account, difference, last_on = sides
        if not difference:
            return nothing_to_post()
        request = _journal(account, _dated(account, wanted, last_on), difference, last_on, journal_account_id)
        tried = self._journals.post(request, actor, dry_run=True)
        return tried if isinstance(tried, Refusal) else request

    def _sides(self, wanted: NewMatch) -> tuple[StatementAccount, int, date] | Refusal:
        """The account of what is to be matched, what its sides differ by, and its last day."""
        account = self._accounts.get(wanted.statement_account_id)
        if account is None:
            return statement_account_not_found(wanted.statement_account_id)
        sides = self._matches.open_sides(wanted)
        return sides if isinstance(sides, Refusal) else (account, *sides)

    def confirm(self, match_id: int, reason: str, actor: str) -> MatchRecord | Refusal:
        """Make a match of a suggestion."""
        return self._matches.confirm(match_id, reason, actor) or self._found(match_id)

    def undo(self, match_id: int, reason: str, actor: str) -> MatchRecord | Refusal:
        """Undo a match, or say that a suggestion is not one; the rules do not bring the same together again."""
        return self._matches.undo(match_id, reason, actor) or self._found(match_id)

    def split(
        self, match_id: int, line_ids: Iterable[int], entry_numbers: Iterable[int], reason: str, actor: str
    ) -> MatchRecord | Refusal:
        """Keep a part of a match as a match of its own; the rest is free again."""
        former = self.reads.match(match_id)
        if former is None:
            return match_not_found(match_id)
        part = NewMatch(
            former.statement_account_id,
            tuple(line_ids),
            tuple(entry_numbers),
            reason,
            BY_HAND,
            former_match_id=match_id,
        )
        return self._record(self._matches.replace(match_id, part, actor))

    def post_difference(self, match_id: int, journal_account_id: str, reason: str, actor: str) -> MatchRecord | Refusal:
        """Post what the sides of a match differ by; the match with the journal takes the place of the one without."""
        former = self.reads.match(match_id)
        if former is None:
            return match_not_found(match_id)
        account = self._accounts.get(former.statement_account_id)
        if account is None or former.state is not MatchState.MATCHED or not former.difference_minor:
            return wrong_state(match_id, former.state.value if former.difference_minor else "without a difference")
        wanted = NewMatch(
            former.statement_account_id,
            [line.statement_line_id for line in former.lines],
            [entry.entry_number for entry in former.entries],
            reason,
            former.rule,
            former_match_id=match_id,
        )
        difference, last_on = former.difference_minor, former.settled_on
        completed = self._with_journal(account, wanted, difference, last_on, journal_account_id, actor)
        if isinstance(completed, Refusal):
            return completed
        return self._record(self._matches.replace(match_id, completed, actor))

    def _with_journal(
        self,
        account: StatementAccount,
        wanted: NewMatch,
        difference_minor: int,
        last_on: date,
        journal_account_id: str,
        actor: str,
    ) -> NewMatch | Refusal:
        """What is to be matched together with the entry of a posted journal."""
        if not difference_minor:
            return nothing_to_post()
        wanted = _dated(account, wanted, last_on)
        request = _journal(account, wanted, difference_minor, last_on, journal_account_id)
        refusal = self._posted(account, request, actor)
        found = self.reads.entry_of(account.account_id, request.external_id)
        if found is None:
            return refusal or nothing_to_match()
        journal_id, number = found
        return replace(
            wanted,
            entry_numbers=[*wanted.entry_numbers, number],
            rule=WITH_JOURNAL if wanted.rule == BY_HAND else wanted.rule,
            journal_id=journal_id,
        )

    def _posted(self, account: StatementAccount, request: JournalRequest, actor: str) -> Refusal | None:
        """Post a journal that is not posted yet, or enter it for a second person; why it is not in the ledger now."""
        if self.reads.entry_of(account.account_id, request.external_id) is not None:
            return None
        if needs_approval(self._approval.mode, actor):
            proposal = self._approval.propose(request, actor)
            return proposal if isinstance(proposal, Refusal) else journal_waits(proposal.proposal_id)
        posted = self._journals.post(request, actor)
        return posted if isinstance(posted, Refusal) else None

    def _record(self, outcome: int | Refusal) -> MatchRecord | Refusal:
        return outcome if isinstance(outcome, Refusal) else self._found(outcome)

    def _found(self, match_id: int) -> MatchRecord | Refusal:
        return self.reads.match(match_id) or match_not_found(match_id)


def _day_of(account: StatementAccount, last_on: date) -> date:
    """The bank's day, or the first day that is not signed off."""
    return max(last_on, account.first_open_day) if account.signed_through is not None else last_on


def _dated(account: StatementAccount, wanted: NewMatch, last_on: date) -> NewMatch:
    """The match with a reason that says so where its journal has another day than the bank."""
    day = _day_of(account, last_on)
    if day == last_on:
        return wanted
    return replace(wanted, reason=f"{wanted.reason} (dated {day}, because {last_on} is signed off)")


def _journal(
    account: StatementAccount, wanted: NewMatch, difference_minor: int, last_on: date, journal_account_id: str
) -> JournalRequest:
    """The journal of a difference."""
    is_in = difference_minor > 0
    return JournalRequest(
        external_id=f"statement-match-{_digest(account, wanted, journal_account_id)}",
        lines=[
            JournalLine(account.account_id, is_in, abs(difference_minor)),
            JournalLine(journal_account_id, not is_in, abs(difference_minor)),
        ],
        reason=wanted.reason,
        effective_at=datetime.combine(_day_of(account, last_on), time(), UTC),
    )


def _digest(account: StatementAccount, wanted: NewMatch, journal_account_id: str) -> str:
    parts = (account.statement_account_id, sorted(wanted.line_ids), sorted(wanted.entry_numbers), journal_account_id)
    return sha256(repr(parts).encode()).hexdigest()[:24]
