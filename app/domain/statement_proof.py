"""What a file states, added up: opening plus lines must be closing, for each page and each statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from app.domain.money import as_money
from app.domain.statement import Balance, NotBooked, Page, RefusedLine, StatementHead, StatementLine
from app.domain.wording import counted

MOST_DIFFERENCES = 100
"""Differences told one by one for each statement: after so many, the file is wrong as a whole."""


class StatementProof(StrEnum):
    """Whether the balances of a statement and its lines agree."""

    PROVEN = "proven"
    DIFFERS = "differs"
    NOT_PROVABLE = "not_provable"


class StatementBreakKind(StrEnum):
    """What is wrong with an imported file."""

    LINE_REFUSED = "line_refused"
    ID_REUSED = "id_reused"
    BALANCE_DIFFERS = "balance_differs"
    PAYOUT_DIFFERS = "payout_differs"


@dataclass(slots=True, frozen=True)
class StatementBreak:
    """One thing that somebody has to look at; `statement`, `line` and `position` say where in the file, if there."""

    kind: StatementBreakKind
    detail: str
    statement: int | None = None
    line: int = 0
    position: int = 0
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class StatementTally:
    """One statement, added up while its file is read. Amounts are in minor units."""

    head: StatementHead
    line_count: int = 0
    sum_minor: int = 0
    refused_count: int = 0
    not_booked_count: int = 0
    page_count: int = 0
    proven_pages: int = 0
    opening: Balance | None = None
    closing: Balance | None = None
    first_on: date | None = None
    last_on: date | None = None
    missing: str = ""
    differences: list[StatementBreak] = field(default_factory=list)
    difference_count: int = 0
    unexplained_count: int = 0
    """Differences of pages in which no line was refused."""
    since_minor: int = 0
    refused_since: int = 0
    refused_elsewhere: int = 0
    """Refused lines of the file of which nobody knows the statement."""

    @property
    def proof(self) -> StatementProof:
        """Whether each page holds; a page without its balances proves nothing."""
        if self.difference_count:
            return StatementProof.DIFFERS
        if self.head.derives_balances and (self.refused_count or self.refused_elsewhere):
            return StatementProof.NOT_PROVABLE
        is_proven = self.page_count > 0 and self.proven_pages == self.page_count
        return StatementProof.PROVEN if is_proven else StatementProof.NOT_PROVABLE

    @property
    def remark(self) -> str:
        """What bars a proof, and what was refused; empty where the proof is whole."""
        refused = self.refused_count + (self.refused_elsewhere if self.head.derives_balances else 0)
        if not refused:
            return self.missing
        number, them = ("1 line was refused", "it") if refused == 1 else (f"{refused} lines were refused", "them")
        end = f"the balances say nothing of {them}" if self.head.derives_balances else f"the sums are without {them}"
        return "; ".join(one for one in (self.missing, f"{number}, and {end}") if one)

    @property
    def difference_minor(self) -> int | None:
        """Closing minus opening minus lines; None if a balance is missing."""
        if self.opening is None or self.closing is None:
            return None
        return self.closing.amount_minor - self.opening.amount_minor - self.sum_minor

    def add(self, line: StatementLine) -> None:
        """Count a line."""
        self.line_count += 1
        self.sum_minor += line.amount_minor
        self.since_minor += line.amount_minor
        self.first_on = min(self.first_on or line.booked_on, line.booked_on)
        self.last_on = max(self.last_on or line.booked_on, line.booked_on)

    def refuse(self) -> None:
        """Count a refused line."""
        self.refused_count += 1
        self.refused_since += 1

    def end_page(self, page: Page) -> None:
        """Prove the lines since the last page."""
        self.page_count += 1
        self._prove_joint(page)
        self._prove_page(page)
        if page.missing:
            self.missing = page.missing
        older, newer = (page, page) if self.page_count == 1 else self._ends(page)
        if older is page:
            self.opening = page.opening
        if newer is page:
            self.closing = page.closing
        self.since_minor = self.refused_since = 0

    def _ends(self, page: Page) -> tuple[Page | None, Page | None]:
        """Whether a later page holds the statement's opening or its closing balance."""
        return (page, None) if self.head.is_newest_first else (None, page)

    def _prove_joint(self, page: Page) -> None:
        """A page begins where the one before it has ended; in files with the newest first it ends there."""
        if self.page_count == 1:
            return
        former, own = (self.opening, page.closing) if self.head.is_newest_first else (self.closing, page.opening)
        if former is not None and own is not None and former.amount_minor != own.amount_minor:
            rest = own.amount_minor - former.amount_minor
            detail = f"page {self.page_count} does not join the one before it: {self._money(rest)} between them"
            self._differs(page, detail, {"former_minor": former.amount_minor, "own_minor": own.amount_minor})

    def _prove_page(self, page: Page) -> None:
        if page.opening is None or page.closing is None:
            return
        rest = page.closing.amount_minor - page.opening.amount_minor - self.since_minor
        if not rest:
            self.proven_pages += 1
            return
        figures = {
            "opening_minor": page.opening.amount_minor,
            "lines_minor": self.since_minor,
            "closing_minor": page.closing.amount_minor,
            "difference_minor": rest,
        }
        sums = (page.opening.amount_minor, self.since_minor, page.closing.amount_minor)
        opening, lines, closing = map(self._money, sums)
        detail = f"opening {opening} + lines {lines} is not closing {closing}: {self._money(rest)} remains"
        if self.refused_since:
            detail += f", and {counted(self.refused_since, 'refused line')} may explain it"
        self._differs(page, detail, figures)

    def _money(self, amount_minor: int) -> str:
        return f"{as_money(amount_minor, self.head.minor_units)} {self.head.currency_code}"

    def _differs(self, page: Page, detail: str, figures: Mapping[str, object]) -> None:
        self.difference_count += 1
        self.unexplained_count += not self.refused_since
        if len(self.differences) < MOST_DIFFERENCES:
            kind = StatementBreakKind.BALANCE_DIFFERS
            self.differences.append(StatementBreak(kind, detail, page.statement, page.line, figures=figures))


@dataclass(slots=True)
class FileTally:
    """All statements of a file, and what was refused in it."""

    statements: dict[int, StatementTally] = field(default_factory=dict)
    refused: list[StatementBreak] = field(default_factory=list)
    refused_count: int = 0
    line_count: int = 0
    unplaced_count: int = 0

    def end(self) -> None:
        """Tell each statement of the refused lines that may have been its own, once the file is read."""
        for one in self.statements.values():
            one.refused_elsewhere = self.unplaced_count

    @property
    def has_unexplained_differences(self) -> bool:
        """Whether balances and lines differ where no refused line could be the reason."""
        return any(one.unexplained_count for one in self.statements.values())

    def take(self, event: StatementHead | StatementLine | RefusedLine | Page | NotBooked, most_refused: int) -> None:
        """Count an event; the first `most_refused` refusals are kept one by one."""
        if isinstance(event, StatementHead):
            self.statements[event.number] = StatementTally(event)
        elif isinstance(event, StatementLine):
            self.line_count += 1
            self.statements[event.statement].add(event)
        elif isinstance(event, RefusedLine):
            self._refuse(event, most_refused)
        elif isinstance(event, Page):
            self.statements[event.statement].end_page(event)
        else:
            self.statements[event.statement].not_booked_count += 1

    def _refuse(self, event: RefusedLine, most_refused: int) -> None:
        self.refused_count += 1
        if event.statement is None:
            self.unplaced_count += 1
        else:
            self.statements[event.statement].refuse()
        if len(self.refused) < most_refused:
            kind = StatementBreakKind.LINE_REFUSED
            self.refused.append(StatementBreak(kind, event.cause, event.statement, event.line, event.position))
