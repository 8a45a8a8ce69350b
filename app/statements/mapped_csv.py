"""CSV files of banks, read as the mapping of their source says: nothing about them is guessed.

A file may hold several accounts and currencies; each is a statement of its own. Where there is a running balance, every
row is proved by it.
"""

from __future__ import annotations

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
from app.domain.statement_source import CsvMapping, SourceOptions
from app.statements.amounts import InexactAmount, minor, whole_minor
from app.statements.csv_rows import Row, csv_rows, swallows_rows
from app.statements.dates import InvalidDay, formatted_day
from app.statements.texts import clean

NO_BALANCES = "the file states no balances"
NO_NEWEST_BALANCE = "the newest rows have no balance, so nothing proves them"


def read_mapped_csv(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of a CSV file; raises UnreadableStatement if a column is missing."""
    mapping = options.csv
    assert mapping is not None
    skip = max(mapping.header_line - 1, 0)
    rows = csv_rows(file, encoding=options.encoding, delimiter=mapping.delimiter, skip=skip)
    width, places = 0, {name: int(column) - 1 for name, column in mapping.columns.items() if isinstance(column, int)}
    if mapping.header_line:
        header = next(rows, Row(mapping.header_line, []))
        width, places = len(header.values), _places(header, mapping)
    reading = _Reading(options, mapping, minor_units, places, width)
    for row in rows:
        yield from reading.take(row)
    yield from reading.end()


def _places(header: Row, mapping: CsvMapping) -> dict[str, int]:
    names = [value.strip() for value in header.values]
    places = {}
    for name, column in mapping.columns.items():
        if isinstance(column, int):
            places[name] = column - 1
        elif names.count(column) != 1:
            how = "twice" if column in names else "not"
            raise UnreadableStatement(header.line, f"the column {column!r} is {how} in the header: {names}")
        else:
            places[name] = names.index(column)
    return places


class _NoLine(ValueError):
    """A row that cannot be a line."""


@dataclass(slots=True)
class _Statement:
    head: StatementHead
    balance_minor: int | None = None
    """The running balance of the last row that has one; minor units."""
    since_minor: int = 0
    """What moved since, that row included where the newest comes first; minor units."""
    since_count: int = 0
    """The rows without a balance since, or before the first one."""


@dataclass(slots=True)
class _Reading:
    options: SourceOptions
    mapping: CsvMapping
    minor_units: MinorUnits
    places: dict[str, int]
    width: int
    statements: dict[tuple[str, str], _Statement] = field(default_factory=dict)
    position: int = 0

    def take(self, row: Row) -> Iterator[StatementEvent]:
        """The events of a row."""
        self.position += 1
        statement = None
        try:
            self._refuse_shape(row)
            account = self._text(row, "account") or self.options.account
            currency = (self._text(row, "currency") or self.mapping.currency).upper()
            statement = self.statements.get((account, currency))
            if statement is None:
                statement = self._begin(account, currency)
                yield statement.head
            line = self._line(row, statement.head)
            balance = self._balance(row, statement.head)
        except (InexactAmount, InvalidDay, _NoLine) as error:
            yield RefusedLine(row.line, self.position, str(error), statement.head.number if statement else None)
            return
        yield from self._proved(statement, line, balance)

    def end(self) -> Iterator[StatementEvent]:
        """What each statement lacks, or the page that its oldest row makes."""
        for statement in self.statements.values():
            number, balance_minor = statement.head.number, statement.balance_minor
            if balance_minor is None:
                yield Page(number, 0, None, None, NO_BALANCES)
            elif self.mapping.is_newest_first:
                yield Page(number, 0, Balance(balance_minor - statement.since_minor), Balance(balance_minor))
            elif statement.since_count:
                yield Page(number, 0, Balance(balance_minor), None, NO_NEWEST_BALANCE)

    def _refuse_shape(self, row: Row) -> None:
        if self.width and len(row.values) != self.width:
            raise _NoLine(f"{len(row.values)} values where the header has {self.width} columns")
        if len(row.values) <= max(self.places.values()):
            raise _NoLine(f"there are only {len(row.values)} values")
        if swallows_rows(row.values, self.mapping.delimiter):
            raise _NoLine("a value in quotes holds what looks like another row; is its quote closed?")

    def _begin(self, account: str, currency: str) -> _Statement:
        units = self.minor_units(currency)
        if units is None:
            raise _NoLine(f"the currency {currency!r} is unknown")
        number = len(self.statements) + 1
        newest_first = self.mapping.is_newest_first
        head = StatementHead(
            number, account, currency, units, is_newest_first=newest_first, derives_balances="balance" in self.places
        )
        statement = self.statements[(account, currency)] = _Statement(head)
        return statement

    def _line(self, row: Row, head: StatementHead) -> StatementLine:
        value_on = self._text(row, "value_on")
        return StatementLine(
            statement=head.number,
            line=row.line,
            position=self.position,
            booked_on=formatted_day(self._text(row, "booked_on"), self.mapping.date_format),
            value_on=formatted_day(value_on, self.mapping.date_format) if value_on else None,
            amount_minor=self._amount(row, head),
            line_id="" if self.options.ignores_ids else self._text(row, "id"),
            kind=self._text(row, "kind"),
            reference=self._text(row, "reference"),
            batch_id=self._text(row, "batch"),
            counterparty=self._text(row, "counterparty"),
            text=self._text(row, "text"),
            details={"balance": self._text(row, "balance")} if self._text(row, "balance") else {},
        )

    def _amount(self, row: Row, head: StatementHead) -> int:
        if "amount" not in self.places:
            return self._of_two_columns(row, head)
        amount = self._minor(self._text(row, "amount"), head)
        if "direction" in self.places:
            amount *= self._sign(self._text(row, "direction"), amount)
        return -amount if self.mapping.is_swapped else amount

    def _of_two_columns(self, row: Row, head: StatementHead) -> int:
        """Money out in one column and in in another; some banks write the first as negative, and zero for nothing."""
        amounts = [self._text(row, name) for name in ("debit", "credit")]
        debit, credit = (self._minor(text, head) if text else 0 for text in amounts)
        if debit and credit:
            raise _NoLine("there is a debit and a credit in one row")
        if not any(amounts):
            raise _NoLine("there is neither a debit nor a credit")
        if credit < 0:
            raise InexactAmount(self._text(row, "credit"), "is a negative credit")
        return credit if credit else -abs(debit)

    def _sign(self, word: str, amount: int) -> int:
        if amount < 0:
            raise _NoLine("the amount has a sign although a column says its direction")
        if word in self.mapping.credit_words:
            return 1
        if word in self.mapping.debit_words:
            return -1
        raise _NoLine(f"the direction {word[:40]!r} is neither among debit_words nor among credit_words")

    def _minor(self, text: str, head: StatementHead) -> int:
        if self.mapping.is_minor:
            return whole_minor(text)
        mapping = self.mapping
        return minor(text, head.minor_units, decimal_mark=mapping.decimal_mark, group_mark=mapping.group_mark)

    def _balance(self, row: Row, head: StatementHead) -> int | None:
        text = self._text(row, "balance")
        return self._minor(text, head) if text else None

    def _text(self, row: Row, name: str) -> str:
        place = self.places.get(name)
        return "" if place is None else clean(row.values[place])

    def _proved(
        self, statement: _Statement, line: StatementLine, balance_minor: int | None
    ) -> Iterator[StatementEvent]:
        """The line, and the page that it and its neighbour's balance make."""
        number, former = statement.head.number, statement.balance_minor
        if not self.mapping.is_newest_first:
            yield line
            statement.since_minor += line.amount_minor
            statement.since_count += 1
            if balance_minor is not None:
                opening = balance_minor - statement.since_minor if former is None else former
                yield Page(number, line.line, Balance(opening), Balance(balance_minor, line.booked_on))
                statement.balance_minor, statement.since_minor, statement.since_count = balance_minor, 0, 0
            return
        if balance_minor is not None:
            if former is not None:
                yield Page(number, line.line, Balance(balance_minor, line.booked_on), Balance(former))
            elif statement.since_count:
                yield Page(number, line.line, Balance(balance_minor, line.booked_on), None, NO_NEWEST_BALANCE)
            statement.balance_minor, statement.since_minor, statement.since_count = balance_minor, 0, 0
        yield line
        statement.since_minor += line.amount_minor
        statement.since_count += 1
