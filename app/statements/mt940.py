"""MT940 files: the fields of SWIFT messages, one statement over one or several pages.

The library `mt-940` knows the grammar of the fields. Each field is given to it by itself, so that a file of any size is
streamed and a field that breaks the grammar costs its own line only. Amounts and days are read here, exactly.

An entry date has no year: it is the day nearest to the opening balance's. RC takes back a credit and so is a debit, RD
the other way round. References of the bank are not unique in such files, so lines have no id.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from mt940 import tags

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
from app.statements.dates import InvalidDay, day, full_year, nearest_day
from app.statements.texts import clean, lines_of_bytes

_FIELD = re.compile(r":(\d\d[A-Z]?):(.*)", re.ASCII | re.DOTALL)
_MESSAGE = re.compile(r".*\{4:")
_STATEMENT_LINE = tags.Statement().re
_BALANCE_FIELD = tags.FinalOpeningBalance().re
_SUBFIELD = re.compile(r"\?(\d\d)", re.ASCII)
_END_TO_END = re.compile(r"EREF\+(.+?)(?=(?:KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|IBAN|BIC|PURP)\+|$)")
_NO_REFERENCE = frozenset({"NONREF", "NOTPROVIDED", ""})
_PURPOSE = frozenset(map(str, (*range(20, 30), *range(60, 64))))
_SUBFIELD_LENGTH = 27
_NAME = frozenset({"32", "33"})

Field = tuple[str, str, int]
"""Tag, value with its line breaks, and the line on which it begins."""


def read_mt940(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of an MT940 file; raises UnreadableStatement if it is none."""
    reading = _Reading(options, minor_units)
    has_fields = False
    for one in _fields(file, options.encoding):
        has_fields = True
        yield from reading.take(one)
    if not has_fields:
        raise UnreadableStatement(1, "there is no field such as :20: or :61:, so this is no MT940 file")
    yield from reading.end_message()


def _fields(file: BinaryIO, encoding: str) -> Iterator[Field]:
    tag, parts, begun = "", [""], 0
    for number, raw in lines_of_bytes(file):
        text = _decoded(raw, encoding)
        if "{4:" in text:
            text = _MESSAGE.sub("", text)
        match = _FIELD.match(text)
        is_end = text.rstrip() == "-" or text.startswith("-}")
        if match is None and not is_end:
            parts.append(text)
            continue
        if tag:
            yield tag, "\n".join(parts), begun
        tag, parts, begun = ("", [""], 0) if match is None else (match[1], [match[2]], number)
        if is_end:
            yield "-", "", number
    if tag:
        yield tag, "\n".join(parts), begun


def _decoded(raw: bytes, encoding: str) -> str:
    """A line as text. The format names no encoding; what is not UTF-8 is CP1252, as the banks of Europe send it."""
    if encoding:
        return raw.decode(encoding, "replace")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


@dataclass(slots=True)
class _Statement:
    """A statement whose pages are being read."""

    head: StatementHead
    near: date
    """What entry dates are near to."""


@dataclass(slots=True)
class _Reading:
    options: SourceOptions
    minor_units: MinorUnits
    account: str = ""
    name: str = ""
    statement: _Statement | None = None
    opening: Balance | None = None
    missing: str = ""
    """Why the lines of this message cannot be read, or its balances not be used."""
    pending: tuple[StatementLine, list[str]] | None = None
    """The line whose :86: may still come, and its texts."""
    to_be_continued: dict[tuple[str, str], _Statement] = field(default_factory=dict)
    statements: int = 0
    position: int = 0

    def take(self, one: Field) -> Iterator[StatementEvent]:
        """The events that a field completes."""
        tag, value, line = one
        if tag == "86":
            if self.pending:
                self.pending[1].append(value)
            return
        yield from self._flush()
        if tag in ("20", "-"):
            yield from self.end_message()
        elif tag in ("25", "25P"):
            self.account = clean(value.split("\n")[0])
        elif tag in ("28", "28C"):
            self.name = clean(value).split("/")[0]
        elif tag in ("60F", "60M"):
            yield from self._begin(tag, value, line)
        elif tag == "61":
            yield from self._line(value, line)
        elif tag in ("62F", "62M"):
            yield from self._end_page(tag, value, line)

    def end_message(self) -> Iterator[StatementEvent]:
        """Events at the end of a message; a page without a closing balance ends here."""
        yield from self._flush()
        if self.statement:
            number = self.statement.head.number
            yield Page(number, 0, self.opening, None, "a page has no closing balance")
        self.statement, self.opening, self.missing, self.account, self.name = None, None, "", "", ""

    def _begin(self, tag: str, value: str, line: int) -> Iterator[StatementEvent]:
        try:
            self.opening, currency = self._balance(value)
        except (InexactAmount, InvalidDay) as error:
            self.missing = f"its opening balance cannot be read: {error}"
            yield RefusedLine(line, self.position, self.missing)
            return
        key = (self.account, currency)
        continued = self.to_be_continued.pop(key, None) if tag == "60M" else None
        if continued:
            self.statement = continued
            return
        units = self.minor_units(currency)
        assert units is not None
        assert self.opening.on is not None
        self.statements += 1
        account = self.account or self.options.account
        head = StatementHead(self.statements, account, currency, units, self.name, names_lines=True)
        self.statement = _Statement(head, self.opening.on)
        yield head

    def _balance(self, value: str) -> tuple[Balance, str]:
        text = value.split("\n")[0].rstrip()
        match = _BALANCE_FIELD.match(text)
        if match is None or match.end() != len(text):
            raise InexactAmount(text, "is no balance")
        currency = match["currency"].upper()
        units = self.minor_units(currency)
        if units is None:
            raise InexactAmount(text, f"is in {currency}, which is no known currency")
        on = day(full_year(int(match["year"])), int(match["month"]), int(match["day"]), text)
        sign = -1 if match["status"].upper() == "D" else 1
        return Balance(sign * minor(match["amount"], units, decimal_mark=","), on), currency

    def _end_page(self, tag: str, value: str, line: int) -> Iterator[StatementEvent]:
        if self.statement is None:
            return
        head = self.statement.head
        closing, missing = None, ""
        try:
            closing, currency = self._balance(value)
            if currency != head.currency_code:
                closing, missing = None, f"the closing balance is in {currency}"
        except (InexactAmount, InvalidDay) as error:
            missing = f"the closing balance cannot be read: {error}"
        yield Page(head.number, line, self.opening, closing, missing)
        if tag == "62M":
            self.to_be_continued[(self.account, head.currency_code)] = self.statement
        self.statement, self.opening = None, None

    def _line(self, value: str, line: int) -> Iterator[StatementEvent]:
        self.position += 1
        number = self.statement.head.number if self.statement else None
        try:
            self.pending = (self._parsed(value, line), [])
        except (InexactAmount, InvalidDay, _NoLine) as error:
            yield RefusedLine(line, self.position, str(error), number)

    def _parsed(self, value: str, line: int) -> StatementLine:
        if self.statement is None:
            raise _NoLine(self.missing or "it stands in no statement: there is no opening balance before it")
        first, *more = value.split("\n")
        match = _STATEMENT_LINE.match("\n".join([first.rstrip(), *more[:1]]))
        if match is None or match["id"] is None:
            raise _NoLine(f"{first[:60]!r} is no statement line: date, C or D, amount of up to 15 digits, type")
        parts = {name: (text or "").strip() for name, text in match.groupdict().items()}
        value_text = parts["year"] + parts["month"] + parts["day"]
        value_on = day(full_year(int(parts["year"])), int(parts["month"]), int(parts["day"]), value_text)
        mark = parts["status"].upper()
        sign = 1 if mark in ("C", "RD") else -1
        head = self.statement.head
        return StatementLine(
            statement=head.number,
            line=line,
            position=self.position,
            booked_on=self._entry_day(parts, value_on),
            value_on=value_on,
            amount_minor=sign * minor(parts["amount"], head.minor_units, decimal_mark=","),
            kind=parts["id"],
            reference="" if parts["customer_reference"] in _NO_REFERENCE else clean(parts["customer_reference"]),
            text=clean(" ".join([parts["extra_details"], *more[1:]])),
            details=_without_empty(
                bank_reference=clean(parts["bank_reference"]), reversal="yes" if mark.startswith("R") else ""
            ),
        )

    def _entry_day(self, parts: dict[str, str], value_on: date) -> date:
        assert self.statement is not None
        text = parts["entry_month"] + parts["entry_day"]
        if not text:
            return value_on
        if len(text) != 4:
            raise InvalidDay(text)
        return nearest_day(int(text[:2]), int(text[2:]), self.statement.near, text)

    def _flush(self) -> Iterator[StatementEvent]:
        if self.pending:
            line, texts = self.pending
            self.pending = None
            yield _described(line, texts)


class _NoLine(ValueError):
    """A field :61: that is no statement line."""


def _described(line: StatementLine, texts: list[str]) -> StatementLine:
    """The line with what its :86: says, in the subfields of German banks or as free text."""
    if not texts:
        return line
    joined = "".join("".join(text.split("\n")) for text in texts)
    code, *subfields = _SUBFIELD.split(joined)
    if not subfields:
        text, counterparty, posting = " ".join(" ".join(text.split("\n")) for text in texts), "", ""
    else:
        parts = list(zip(subfields[::2], subfields[1::2], strict=True))
        text = _purpose([value for tag, value in parts if tag in _PURPOSE])
        counterparty = "".join(value for tag, value in parts if tag in _NAME)
        posting = "".join(value for tag, value in parts if tag == "00")
    end_to_end = _END_TO_END.search(joined if not subfields else text)
    return StatementLine(
        statement=line.statement,
        line=line.line,
        position=line.position,
        booked_on=line.booked_on,
        value_on=line.value_on,
        amount_minor=line.amount_minor,
        kind=line.kind,
        reference=line.reference or _reference(end_to_end),
        counterparty=clean(counterparty),
        text=clean(" ".join(one for one in (line.text, text) if one)),
        details={**line.details, **_without_empty(code=clean(code) if subfields else "", posting=clean(posting))},
    )


def _purpose(values: list[str]) -> str:
    """The purpose, whose subfields have up to 27 characters: a full one goes on in the next without a space."""
    return "".join(value if len(value) >= _SUBFIELD_LENGTH else f"{value} " for value in values).rstrip()


def _reference(end_to_end: re.Match[str] | None) -> str:
    found = clean(end_to_end[1]) if end_to_end else ""
    return "" if found in _NO_REFERENCE else found


def _without_empty(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
