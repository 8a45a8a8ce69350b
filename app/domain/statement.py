"""Statements as Holdfast knows them, whatever format they came in: accounts, lines, balances, and what was refused.

A reader turns a file into a stream of these values, in the order of the file, so that a file of any size takes the
same memory. Amounts are whole minor units; what comes in is positive, what goes out is negative, as the holder of the
account sees it. Days are the days that the bank wrote.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import BinaryIO

from app.domain.statement_source import SourceOptions


class UnreadableStatement(ValueError):
    """The file as a whole cannot be read; the message names the line and the cause."""

    def __init__(self, line: int, cause: str) -> None:
        super().__init__(f"line {line}: {cause}" if line else cause)


@dataclass(slots=True, frozen=True)
class Balance:
    """A balance that the bank states: minor units, and the day it is of, if the bank says one."""

    amount_minor: int
    on: date | None = None


@dataclass(slots=True, frozen=True)
class StatementHead:
    """A statement begins. `number` is its place in the file, from 1; `name` is what the bank calls it.

    `is_newest_first`: its lines are listed from the last day to the first. `names_lines`: a line without an id of its
    own is told from an equal one by the statement that it is in, because the bank never states a line twice.
    `derives_balances`: its balances are those that its lines lead to, so they prove nothing of a line that was refused.
    """

    number: int
    account_ref: str
    currency_code: str
    minor_units: int
    name: str = ""
    is_newest_first: bool = False
    names_lines: bool = False
    derives_balances: bool = False


@dataclass(slots=True, frozen=True)
class StatementLine:
    """One movement of an account. `line` is the line of the file, `position` counts the movements of the file.

    `line_id` is the bank's id, empty if there is none; `batch_id` names the payout or the batch that the line is part
    of. `kind` is the word of the source.
    """

    statement: int
    line: int
    position: int
    booked_on: date
    amount_minor: int
    value_on: date | None = None
    line_id: str = ""
    kind: str = ""
    reference: str = ""
    batch_id: str = ""
    counterparty: str = ""
    text: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def content(self, currency_code: str) -> bytes:
        """A hash of all that the bank says of the line, but not of where it stands in the file.

        The batch is left out: a line gets its payout later than its id.
        """
        return _hash(
            currency_code,
            self.booked_on.isoformat(),
            self.value_on.isoformat() if self.value_on else "",
            self.amount_minor,
            self.kind,
            self.reference,
            self.counterparty,
            self.text,
            sorted(self.details.items()),
        )


def identity_of(source_name: str, head: StatementHead, line: StatementLine, content: bytes) -> bytes:
    """What makes a line the same line in another file: account and id, or without an id account and content."""
    if line.line_id:
        return _hash(source_name, head.account_ref, "id", line.line_id)
    return _hash(source_name, head.account_ref, "content", head.name if head.names_lines else "", content.hex())


def _hash(*parts: object) -> bytes:
    return sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).digest()


@dataclass(slots=True, frozen=True)
class RefusedLine:
    """A movement that cannot be taken over; the rest of the file is. `statement` is None before one has begun."""

    line: int
    position: int
    cause: str
    statement: int | None = None


@dataclass(slots=True, frozen=True)
class Page:
    """The lines since the last page of a statement lie between these balances; None where the bank states none.

    `missing` says why a balance cannot be used.
    """

    statement: int
    line: int
    opening: Balance | None
    closing: Balance | None
    missing: str = ""


@dataclass(slots=True, frozen=True)
class NotBooked:
    """A movement that the bank announces and has not booked: it moves nothing, and comes again once it is booked."""

    statement: int


StatementEvent = StatementHead | StatementLine | RefusedLine | Page | NotBooked


MinorUnits = Callable[[str], int | None]
"""Tells the decimal places of a currency; None if it is unknown."""

Reader = Callable[[BinaryIO, SourceOptions, MinorUnits], Iterator[StatementEvent]]
"""Reads a file: its events in order. Raises UnreadableStatement where it cannot go on."""
