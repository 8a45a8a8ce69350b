"""Stripe's reports as CSV: the export of balance transactions, and the itemised reports of balance changes and payouts.

A balance transaction is a line of its gross amount and, where there is a fee, a second line of the fee, so that a
payment is matched by what was paid. Gross minus fee must be the net amount. Each line names the payout that it is part
of as its batch. What was shown to the customer in another currency is told and moves nothing. Amounts are in major
units, with the decimals of ISO 4217; days are those of the report. JSON is handed to the reader of API objects.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from app.domain.statement import (
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
from app.statements.csv_rows import Row, csv_rows, first_line, swallows_rows
from app.statements.dates import InvalidDay, iso_day
from app.statements.stripe_lines import DEFAULT_ACCOUNT, NO_BALANCES, NoStripeLine, with_fee
from app.statements.stripe_objects import looks_like_objects, read_stripe_objects
from app.statements.texts import clean

_NAMES = {
    # what it is: the names that the reports give it, the first that is there counts
    "id": ("balance_transaction_id", "id"),
    "kind": ("reporting_category", "type"),
    "gross": ("gross", "amount"),
    "fee": ("fee", "fees"),
    "net": ("net",),
    "currency": ("currency",),
    "booked_on": ("created_utc", "created (utc)", "created", "effective_at_utc", "effective_at"),
    "value_on": ("available_on_utc", "available on (utc)", "available_on"),
    "payout": ("automatic_payout_id", "payout_id", "transfer"),
    "source": ("source_id", "source"),
    "reference": ("payment_intent_id", "charge_id"),
    "text": ("description",),
    "customer_amount": ("customer_facing_amount", "customer facing amount"),
    "customer_currency": ("customer_facing_currency", "customer facing currency"),
}
_NEEDED = ("id", "kind", "gross", "fee", "net", "currency", "booked_on")


def read_stripe(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of a report; raises UnreadableStatement if a column is missing."""
    if looks_like_objects(file):
        yield from read_stripe_objects(file, options, minor_units)
        return
    delimiter = _delimiter(file, options.encoding)
    rows = csv_rows(file, encoding=options.encoding, delimiter=delimiter)
    header = next(rows, Row(1, []))
    reading = _Reading(options, minor_units, _places(header), len(header.values), delimiter)
    for row in rows:
        yield from reading.take(row)
    for head in reading.heads.values():
        yield Page(head.number, 0, None, None, NO_BALANCES)


def _delimiter(file: BinaryIO, encoding: str) -> str:
    """What separates the columns: a spreadsheet of a country with decimal commas saves semicolons."""
    header = first_line(file, encoding)
    return ";" if header.count(";") > header.count(",") else ","


def _places(header: Row) -> dict[str, int]:
    names = [value.strip().lower() for value in header.values]
    places = {}
    for what, known in _NAMES.items():
        found = next((name for name in known if name in names), None)
        if found is not None:
            if names.count(found) > 1:
                raise UnreadableStatement(header.line, f"the column {found!r} is twice in the header")
            places[what] = names.index(found)
    if missing := [" or ".join(_NAMES[what]) for what in _NEEDED if what not in places]:
        cause = f"the header lacks {', '.join(missing)}, so this is no itemised report of Stripe"
        raise UnreadableStatement(header.line, cause)
    return places


@dataclass(slots=True)
class _Reading:
    options: SourceOptions
    minor_units: MinorUnits
    places: dict[str, int]
    width: int
    delimiter: str
    heads: dict[str, StatementHead] = field(default_factory=dict)
    position: int = 0

    def take(self, row: Row) -> Iterator[StatementEvent]:
        """The events of a row; the first one in a currency begins its statement."""
        self.position += 1
        head = None
        try:
            if len(row.values) != self.width:
                raise NoStripeLine(f"{len(row.values)} values where the header has {self.width} columns")
            if swallows_rows(row.values, self.delimiter):
                raise NoStripeLine("a value in quotes holds what looks like another row; is its quote closed?")
            currency = self._text(row, "currency").upper()
            head = self.heads.get(currency)
            if head is None:
                head = self._begin(currency)
                yield head
            lines = self._lines(row, head)
        except (InexactAmount, InvalidDay, NoStripeLine) as error:
            yield RefusedLine(row.line, self.position, str(error), head.number if head else None)
            return
        yield from lines

    def _begin(self, currency: str) -> StatementHead:
        units = self.minor_units(currency)
        if units is None:
            raise NoStripeLine(f"the currency {currency!r} is unknown")
        account = self.options.account or DEFAULT_ACCOUNT
        head = self.heads[currency] = StatementHead(len(self.heads) + 1, account, currency, units)
        return head

    def _lines(self, row: Row, head: StatementHead) -> list[StatementLine]:
        gross, fee, net = (minor(self._text(row, name), head.minor_units) for name in ("gross", "fee", "net"))
        return with_fee(self._line(row, head, gross), fee, net)

    def _line(self, row: Row, head: StatementHead, gross_minor: int) -> StatementLine:
        value_on, kind = self._text(row, "value_on"), self._text(row, "kind")
        source = self._text(row, "source")
        return StatementLine(
            statement=head.number,
            line=row.line,
            position=self.position,
            booked_on=iso_day(self._text(row, "booked_on")),
            value_on=iso_day(value_on) if value_on else None,
            amount_minor=gross_minor,
            line_id=self._text(row, "id"),
            kind=kind,
            reference=self._text(row, "reference") or source,
            batch_id=self._text(row, "payout") or (source if kind == "payout" else ""),
            text=self._text(row, "text"),
            details=self._customer_facing(row, head),
        )

    def _customer_facing(self, row: Row, head: StatementHead) -> dict[str, str]:
        amount, currency = self._text(row, "customer_amount"), self._text(row, "customer_currency").upper()
        if not amount or currency == head.currency_code:
            return {}
        return {"customer_facing": f"{currency} {amount}"}

    def _text(self, row: Row, name: str) -> str:
        place = self.places.get(name)
        return "" if place is None else clean(row.values[place])
