"""What an import hands to the ledger and gets back, and the records of statements that the ledger is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from app.domain.statement_proof import StatementBreak
from app.domain.statement_source import StatementSource
from app.domain.wording import counted


class StagedLine(NamedTuple):
    """A line on its way into the ledger, with its number in the file."""

    n: int
    statement: int
    line: int
    position: int
    identity: bytes
    content: bytes
    booked_on: date
    value_on: date | None
    amount_minor: int
    line_id: str | None
    kind: str
    reference: str
    batch_id: str
    counterparty: str
    text: str
    details: str


@dataclass(slots=True, frozen=True)
class StatementFile:
    """The file that is imported."""

    source: StatementSource
    hash: bytes
    name: str
    bytes: int
    actor: str


@dataclass(slots=True)
class Judged:
    """How many lines of a file or a statement are new, known, or have an id of other content; minor units."""

    added: int = 0
    added_minor: int = 0
    known: int = 0
    reused: int = 0


@dataclass(slots=True, frozen=True)
class LateLines:
    """Lines of an account that came in after the period of their days was signed off."""

    source_name: str
    account_ref: str
    currency_code: str
    signed_through: date
    line_count: int

    @property
    def sentence(self) -> str:
        """What they mean, and what to do about them."""
        signed = f"in the month that is signed off through {self.signed_through}"
        if self.line_count == 1:
            rest = "it stands as an unmatched line of the next period; reopen the month to take it in."
            return f"1 line falls {signed}: {rest}"
        rest = "they stand as unmatched lines of the next period; reopen the month to take them in."
        return f"{counted(self.line_count, 'line')} fall {signed}: {rest}"


@dataclass(slots=True, frozen=True)
class StoredImport:
    """What an import has written: its id, its breaks, how many payouts its lines explain, and what came too late."""

    import_id: int
    breaks: list[StatementBreak]
    explained_payouts: int
    late: list[LateLines]


@dataclass(slots=True, frozen=True)
class ImportRecord:
    """One imported file and what became of it."""

    import_id: int
    source_name: str
    source_version: int
    file_name: str
    line_count: int
    added_count: int
    known_count: int
    refused_count: int
    break_count: int
    imported_by: str
    imported_at: datetime


@dataclass(slots=True, frozen=True)
class StatementRecord:
    """A statement in the ledger; amounts in minor units."""

    statement_id: int
    import_id: int
    source_name: str
    account_ref: str
    currency_code: str
    minor_units: int
    name: str
    first_on: date | None
    last_on: date | None
    opening_minor: int | None
    opening_on: date | None
    closing_minor: int | None
    closing_on: date | None
    line_count: int
    lines_minor: int
    added_count: int
    refused_count: int
    not_booked_count: int
    page_count: int
    proof: str
    difference_minor: int | None
    missing: str


@dataclass(slots=True, frozen=True)
class LineRecord:
    """A line in the ledger; minor units, money in is positive."""

    statement_line_id: int
    statement_id: int
    line: int
    position: int
    booked_on: date
    value_on: date | None
    amount_minor: int
    line_id: str | None
    kind: str
    reference: str
    batch_id: str | None
    counterparty: str
    text: str
    details: Mapping[str, str] = field(default_factory=dict)
