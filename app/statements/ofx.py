"""OFX and QFX, version 1 (SGML, whose elements need no end tags) and version 2 (XML).

A transaction is one line. Its id is the FITID of its account, its day the day that DTPOSTED begins with. OFX states a
closing balance and no opening one, so a file proves nothing by itself, and its statement says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from app.domain.statement import (
    Balance,
    MinorUnits,
    Page,
    RefusedLine,
    StatementEvent,
    StatementHead,
    StatementLine,
    UnreadableStatement,
)
from app.domain.statement_source import SourceOptions
from app.statements.amounts import InexactAmount, minor
from app.statements.dates import InvalidDay, compact_day
from app.statements.ofx_markup import Mark, markup
from app.statements.texts import clean, undecoded_byte

_STATEMENTS = frozenset({"STMTRS", "CCSTMTRS"})
_AGGREGATES = _STATEMENTS | {
    *("STMTTRN", "BANKACCTFROM", "CCACCTFROM", "LEDGERBAL", "AVAILBAL", "PAYEE", "BANKACCTTO", "CCACCTTO"),
    *("CURRENCY", "ORIGCURRENCY", "BANKTRANLIST", "BALLIST", "BAL", "IMAGEDATA", "EXTDPAYEE"),
}
"""Aggregates that are told apart; all other elements belong to the one that they are in."""

NO_OPENING = "OFX states no opening balance"


def read_ofx(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of an OFX file; raises UnreadableStatement if it is none, or ends too soon."""
    reading = _Reading(options, minor_units)
    for mark in markup(file, options.encoding):
        yield from reading.take(mark)
    if not reading.is_complete:
        raise UnreadableStatement(reading.line, "the file ends before </OFX>; nothing was read")


class _NoLine(ValueError):
    """A transaction that cannot be a line."""


@dataclass(slots=True)
class _Fields:
    """The elements of an aggregate, with the line on which it begins."""

    line: int
    values: dict[str, str] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)

    def add(self, name: str, value: str) -> None:
        if name in self.values:
            self.repeated.add(name)
        self.values[name] = value

    def text(self, name: str) -> str:
        return clean(self.values.get(name))


class _Reading:
    def __init__(self, options: SourceOptions, minor_units: MinorUnits) -> None:
        self._options = options
        self._minor_units = minor_units
        self._stack: list[str] = []
        self._currency = ""
        self._account = _Fields(0)
        self._head: StatementHead | None = None
        self._transaction: _Fields | None = None
        self._closing = _Fields(0)
        self._statements = 0
        self._position = 0
        self.is_complete = False
        self.line = 1

    def take(self, mark: Mark) -> Iterator[StatementEvent]:
        """The events that a mark completes."""
        self.line = mark.line
        if mark.name == "OFX":
            self.is_complete = mark.is_end
        elif mark.is_end:
            yield from self._close(mark.name)
        elif mark.name in _AGGREGATES:
            yield from self._open(mark)
        else:
            self._keep(mark)

    def _open(self, mark: Mark) -> Iterator[StatementEvent]:
        if mark.name == "STMTTRN":
            yield from self._close("STMTTRN")  # some banks leave out its end tag
            self._transaction = _Fields(mark.line)
        elif mark.name in _STATEMENTS:
            self._currency, self._account, self._closing, self._head = "", _Fields(mark.line), _Fields(0), None
        self._stack.append(mark.name)

    def _close(self, name: str) -> Iterator[StatementEvent]:
        if name not in self._stack:
            return
        while self._stack:
            closed = self._stack.pop()
            if closed == "STMTTRN":
                yield from self._line()
            if closed in _STATEMENTS:
                yield from self._end()
            if closed == name:
                return

    def _keep(self, mark: Mark) -> None:
        inner = self._stack[-1] if self._stack else ""
        if self._transaction is not None and "STMTTRN" in self._stack:
            prefix = "" if inner == "STMTTRN" else f"{inner}."
            self._transaction.add(prefix + mark.name, mark.value)
        elif inner in ("BANKACCTFROM", "CCACCTFROM"):
            self._account.add(mark.name, mark.value)
        elif inner == "LEDGERBAL":
            self._closing.add(mark.name, mark.value)
        elif inner in _STATEMENTS and mark.name == "CURDEF":
            self._currency = clean(mark.value).upper()

    def _begun(self) -> Iterator[StatementEvent]:
        """The head, before the first transaction."""
        if self._head is not None:
            return
        units = self._minor_units(self._currency)
        if units is None:
            raise UnreadableStatement(self.line, f"the account's currency {self._currency!r} is unknown")
        parts = (self._account.text("BANKID"), self._account.text("ACCTID"))
        account = "/".join(one for one in parts if one) or self._options.account
        self._statements += 1
        self._head = StatementHead(self._statements, account, self._currency, units)
        yield self._head

    def _line(self) -> Iterator[StatementEvent]:
        fields, self._transaction = self._transaction, None
        assert fields is not None
        self._position += 1
        if not any(one in _STATEMENTS for one in self._stack):
            cause = "it belongs to no bank or card statement; those of investments are not read"
            yield RefusedLine(fields.line, self._position, cause)
            return
        yield from self._begun()
        assert self._head is not None
        try:
            yield self._parsed(fields, self._head)
        except (InexactAmount, InvalidDay, _NoLine) as error:
            yield RefusedLine(fields.line, self._position, str(error), self._statements)

    def _parsed(self, fields: _Fields, head: StatementHead) -> StatementLine:
        _refuse(fields, head)
        return StatementLine(
            statement=head.number,
            line=fields.line,
            position=self._position,
            booked_on=compact_day(fields.text("DTPOSTED")),
            value_on=compact_day(fields.text("DTAVAIL")) if fields.text("DTAVAIL") else None,
            amount_minor=minor(fields.text("TRNAMT"), head.minor_units),
            line_id="" if self._options.ignores_ids else fields.text("FITID"),
            kind=fields.text("TRNTYPE"),
            reference=fields.text("REFNUM") or fields.text("CHECKNUM"),
            counterparty=fields.text("NAME") or fields.text("PAYEE.NAME"),
            text=fields.text("MEMO"),
        )

    def _end(self) -> Iterator[StatementEvent]:
        yield from self._begun()
        assert self._head is not None
        closing, missing = None, f"{NO_OPENING}, and this file no closing one"
        if self._closing.values:
            try:
                amount_minor = minor(self._closing.text("BALAMT"), self._head.minor_units)
                on = compact_day(self._closing.text("DTASOF")) if self._closing.text("DTASOF") else None
                closing, missing = Balance(amount_minor, on), NO_OPENING
            except (InexactAmount, InvalidDay) as error:
                missing = f"{NO_OPENING}; the closing balance cannot be read: {error}"
        yield Page(self._statements, self.line, None, closing, missing)


def _refuse(fields: _Fields, head: StatementHead) -> None:
    for name, value in fields.values.items():
        if byte := undecoded_byte(value):
            cause = f"the byte {byte} in {name} is not in the file's encoding; name another one in the source's options"
            raise _NoLine(cause)
    if repeated := fields.repeated & {"TRNAMT", "DTPOSTED", "FITID"}:
        raise _NoLine(f"{', '.join(sorted(repeated))} stands twice in one transaction")
    currency = fields.text("CURRENCY.CURSYM").upper()
    if currency and currency != head.currency_code:
        raise _NoLine(f"the amount is in {currency}, and the account in {head.currency_code}")
