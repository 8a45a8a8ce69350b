"""A month in the ledger and on statements, matched and signed, for the tests of matching and signing off."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any

from app.domain.accounts import AccountType
from app.domain.bank_file import read_movements
from app.domain.break_workflow import BreakChange, BreakState
from app.domain.journal_proposals import ApprovalMode
from app.domain.match_records import RunReport, StatementAccount, UnmatchedItem
from app.domain.refusals import Refusal
from app.domain.statement_source import StatementFormat, StatementSource
from app.ledger.journal_proposals import LedgerJournalProposals
from app.ledger.match_reads import LedgerMatchReads
from app.ledger.sign_offs import LedgerSignOffs
from app.ledger.statements import LedgerStatements
from app.ledger.transactions import LedgerTransactions
from app.services.payments.refunds import Refunds
from app.services.posting.journal_approval import JournalApproval
from app.services.posting.journals import Journals
from app.services.proofs.breaks import Breaks
from app.services.statements.imports import ImportReport
from app.services.statements.match_decisions import MatchDecisions
from app.services.statements.matching import Matching
from app.services.statements.replay import Replay, ReplayReport
from app.services.statements.sources import save_source
from app.wiring.proofs import build_breaks
from app.wiring.services import build_poster
from app.wiring.statements import build_imports, build_match_decisions, build_matching
from tests.builders import payment
from tests.movements import Row, as_csv
from tests.statements.month import CUSTOMERS, FILES, OPENING_MINOR, Month, Movement
from tests.world import World

BANK = "clearing:bank"
FEES = "expense:bank-charges"


@dataclass
class Desk:
    """Statements beside a ledger."""

    world: World
    posted: set[str] = field(default_factory=set)

    @cached_property
    def matching(self) -> Matching:
        return build_matching(self.world.settings)

    @cached_property
    def reads(self) -> LedgerMatchReads:
        return LedgerMatchReads(self.world.engine)

    @cached_property
    def sign_offs(self) -> LedgerSignOffs:
        return LedgerSignOffs(self.world.engine)

    @cached_property
    def journals(self) -> Journals:
        register = LedgerTransactions(self.world.engine)
        poster = build_poster(self.world.settings, self.world.cache, register, self.world.paying)
        refunds = Refunds(self.world.cache, register, self.world.finder, self.world.paying.durable_wait, poster)
        return Journals(register, self.world.directory, poster, refunds.posted_payment)

    @cached_property
    def decisions(self) -> MatchDecisions:
        return self.new_decisions(ApprovalMode.NONE)

    def new_decisions(self, mode: ApprovalMode) -> MatchDecisions:
        """Decisions where journals need a second person, or not."""
        return build_match_decisions(self.world.engine, self.journals, self.new_approval(mode))

    def new_approval(self, mode: ApprovalMode) -> JournalApproval:
        return JournalApproval(LedgerJournalProposals(self.world.engine), self.journals, mode)

    @cached_property
    def breaks(self) -> Breaks:
        return build_breaks(self.world.engine)

    def accept_all(self) -> None:
        """Have somebody answer for everything without a match."""
        for one in self.unmatched():
            assert one.break_id is not None
            reason = "wrong_amount" if one.reason == "amount_differs" else one.reason
            change = BreakChange({"state": BreakState.ACCEPTED, "reason_code": reason}, "seen to")
            assert not isinstance(self.breaks.change(one.break_id, change, "user:ann"), Refusal)

    def open_accounts(self) -> None:
        """The bank's account with its opening balance, customers, and an account for fees."""
        self.world.account(BANK, AccountType.ASSET)
        self.world.account(FEES, AccountType.EXPENSE)
        for n in range(CUSTOMERS):
            self.world.account(f"customer:{n}", overdraft_limit_minor=None)
        self.pay([Movement("opening", date(2025, 12, 31), OPENING_MINOR, "customer:0")])

    def pay(self, movements: list[Movement]) -> None:
        """Post movements: money in comes from the bank's account, money out goes to it."""
        requests = [
            payment(
                *((BANK, one.customer) if one.amount_minor > 0 else (one.customer, BANK)),
                abs(one.amount_minor),
                external_id=one.reference,
                effective_at=datetime.combine(one.day, time(12), UTC),
            )
            for one in movements
        ]
        for start in range(0, len(requests), 100):
            outcomes = self.world.payments.submit(requests[start : start + 100], "key:test")
            assert not [one for one in outcomes if isinstance(one, Refusal)]
            self.world.drain()

    def replay(self, rows: Sequence[Row]) -> ReplayReport:
        """Play a file of bank movements, as the command does."""
        movements = list(read_movements(io.BytesIO(as_csv(rows).encode()), datetime.now(UTC)))
        world = self.world
        replay = Replay(
            world.accounts,
            world.payments,
            world.cache,
            world.history,
            currency_code="EUR",
            monotonic=world.clock,
            sleep=lambda _: world.drain(),
        )
        replay.open_accounts({one.account_id: None for one in movements}, None)
        [*_, (_, report)] = replay.run(movements)
        return report

    def take(self, content: str, format: str = "mt940", **options: Any) -> ImportReport:
        """Import a file of the source that is called like its format."""
        source = StatementSource(format, StatementFormat(format), options)
        saved, _ = save_source(LedgerStatements(self.world.engine), source, "tests")
        return build_imports(self.world.settings).run(io.BytesIO(content.encode()), f"file.{format}", saved, "tests")

    def take_month(self, month: Month, format: str = "mt940") -> ImportReport:
        """Import a month as a file of a format."""
        write, options = FILES[format]
        return self.take(write(month), format, **options)

    def link(self, *, rules: list[Any] | None = None, starts_on: date | None = None) -> StatementAccount:
        """Link the one account of the statements to the bank's account of the ledger."""
        stated = [*self.matching.accounts.unlinked(), *(
            (one.source_name, one.account_ref, one.currency_code) for one in self.matching.accounts.all()
        )]  # fmt: skip
        [(source, reference, currency)] = stated
        outcome = self.matching.save(source, reference, currency, BANK, "tests", starts_on=starts_on, rules=rules)
        assert not isinstance(outcome, Refusal), outcome
        return outcome[0]

    def account(self) -> StatementAccount:
        """The linked account as it is now."""
        [found] = self.matching.accounts.all()
        return found

    def match(self) -> RunReport:
        """Run the saved rules."""
        return self.matching.run(self.account(), "tests")

    def unmatched(self) -> list[UnmatchedItem]:
        return self.reads.unmatched(self.account().statement_account_id, limit=1_000)

    def reasons(self) -> set[tuple[str, str]]:
        """What has no match: the reason, and what names it."""
        return {(one.reason, name_of(one)) for one in self.unmatched()}


def name_of(one: UnmatchedItem) -> str:
    """A line by its reference or text and its day, an entry by its external id."""
    if one.line is None:
        assert one.entry is not None
        return one.entry.external_id
    reference = one.line.reference
    if not reference and one.line.text.startswith("Transfer "):
        reference = one.line.text.removeprefix("Transfer ")
    return f"{reference or one.line.text} {one.line.day}"
