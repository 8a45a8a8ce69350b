"""Sources of statements: the format of their files, and for CSV the mapping of its columns.

Options come as JSON and are checked once, when the source is saved. Nothing about a file is guessed that its source
could say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class StatementFormat(StrEnum):
    """The formats that Holdfast reads."""

    STRIPE = "stripe"
    CAMT = "camt"
    MT940 = "mt940"
    OFX = "ofx"
    CSV = "csv"


COLUMNS = (
    *("booked_on", "value_on", "amount", "debit", "credit", "direction", "currency", "account", "balance"),
    *("id", "kind", "reference", "batch", "counterparty", "text"),
)
"""What a column of a CSV file may be."""

ENCODINGS = ("utf-8", "utf-16", "cp1250", "cp1252", "iso-8859-1", "iso-8859-2", "iso-8859-15", "cp850")
"""Encodings of files that banks send."""

MAX_SOURCE_NAME = 100

Column = str | int
"""A column by the name in the header, or by its number from 1."""


class InvalidOptions(ValueError):
    """The options of a source contradict themselves or name something unknown, or its name is none.

    The message says what, and `field` of which member.
    """

    def __init__(self, message: str, field: str = "options") -> None:
        super().__init__(message)
        self.field = field


@dataclass(slots=True, frozen=True)
class CsvMapping:
    """How a bank writes CSV.

    `header_line` is the physical line of the header, and the lines before it are passed over; 0: there is none, and
    columns go by number. `is_swapped`: the bank shows what comes in as negative.
    """

    columns: Mapping[str, Column]
    delimiter: str = ","
    header_line: int = 1
    decimal_mark: str = "."
    group_mark: str = ""
    date_format: str = "%Y-%m-%d"
    currency: str = ""
    is_swapped: bool = False
    is_minor: bool = False
    debit_words: frozenset[str] = frozenset()
    credit_words: frozenset[str] = frozenset()
    is_newest_first: bool = False


@dataclass(slots=True, frozen=True)
class SourceOptions:
    """What a source says about its files.

    `account` is the account of files that name none. `ignores_ids`: the ids of its lines are not unique, so lines are
    told apart by content. `inverts_reversals`: in its CAMT files the sign of a reversal is that of the movement which
    is reversed. `encoding` overrides what a file says.
    """

    account: str = ""
    encoding: str = ""
    ignores_ids: bool = False
    inverts_reversals: bool = False
    csv: CsvMapping | None = None


@dataclass(slots=True, frozen=True)
class StatementSource:
    """A saved source. A change makes a new `version`; earlier imports name the version that they were read with."""

    name: str
    format: StatementFormat
    raw_options: Mapping[str, object] = field(default_factory=dict)
    version: int = 0
    created_by: str = ""
    created_at: datetime | None = None

    def options(self) -> SourceOptions:
        """The checked options; raises InvalidOptions."""
        return read_options(self.format, self.raw_options)


def check_name(name: str) -> None:
    """Raise InvalidOptions if a source may not have this name."""
    if not name or len(name) > MAX_SOURCE_NAME or not name.isprintable() or name != name.strip():
        rule = f"1 to {MAX_SOURCE_NAME} printable characters and no white space at its ends"
        raise InvalidOptions(f"the name of a source has {rule}", "name")


def read_options(format: StatementFormat, raw: Mapping[str, object]) -> SourceOptions:
    """The options of a source from JSON; raises InvalidOptions."""
    fields = _Fields(raw)
    options = SourceOptions(
        account=fields.text("account"),
        encoding=fields.one_of("encoding", ENCODINGS),
        ignores_ids=fields.flag("ignores_ids"),
        inverts_reversals=fields.flag("inverts_reversals") if format is StatementFormat.CAMT else False,
        csv=_mapping(fields) if format is StatementFormat.CSV else None,
    )
    fields.refuse_rest(format)
    return options


def _mapping(fields: _Fields) -> CsvMapping:
    mapping = CsvMapping(
        columns=fields.columns(),
        delimiter=fields.one_of("delimiter", (",", ";", "\t", "|")) or ",",
        header_line=fields.whole("header_line", 1),
        decimal_mark=fields.one_of("decimal_mark", (".", ",")) or ".",
        group_mark=fields.one_of("group_mark", (".", ",", " ", "'")),
        date_format=_date_format(fields.text("date_format") or "YYYY-MM-DD"),
        currency=fields.text("currency"),
        is_swapped=fields.flag("is_swapped"),
        is_minor=fields.flag("is_minor"),
        debit_words=fields.words("debit_words"),
        credit_words=fields.words("credit_words"),
        is_newest_first=fields.flag("is_newest_first"),
    )
    _check(mapping)
    return mapping


def _check(mapping: CsvMapping) -> None:
    columns = mapping.columns
    if "booked_on" not in columns:
        raise InvalidOptions("columns needs booked_on")
    if ("amount" in columns) == ("debit" in columns or "credit" in columns):
        raise InvalidOptions("columns needs either amount, or debit and credit")
    if "amount" not in columns and not {"debit", "credit"} <= set(columns):
        raise InvalidOptions("columns needs debit and credit together")
    words = (bool(mapping.debit_words), bool(mapping.credit_words))
    if words != ("direction" in columns,) * 2:
        raise InvalidOptions("a column direction needs debit_words and credit_words, and they need it")
    if "direction" in columns and "amount" not in columns:
        raise InvalidOptions("a column direction goes with a column amount")
    if mapping.debit_words & mapping.credit_words:
        raise InvalidOptions("a word is in both debit_words and credit_words")
    if not mapping.currency and "currency" not in columns:
        raise InvalidOptions("give a currency, or a column currency")
    if mapping.group_mark == mapping.decimal_mark:
        raise InvalidOptions("group_mark and decimal_mark are the same")
    if mapping.header_line == 0 and any(isinstance(one, str) for one in columns.values()):
        raise InvalidOptions("without a header, columns go by number")
    if len(set(columns.values())) < len(columns):
        raise InvalidOptions("a column of the file is used twice")


_DATE_PARTS = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "HH": "%H", "mm": "%M", "SS": "%S"}
_DATE_TOKEN = re.compile("|".join(_DATE_PARTS))


def _date_format(text: str) -> str:
    """A form such as DD.MM.YYYY, as strptime takes it."""
    found = _DATE_TOKEN.findall(text)
    days = [one.replace("YYYY", "YY") for one in found]
    if "%" in text or any(days.count(one) != 1 for one in ("YY", "MM", "DD")) or len(set(found)) < len(found):
        raise InvalidOptions("date_format has YYYY or YY, MM and DD once each, e.g. DD.MM.YYYY")
    return _DATE_TOKEN.sub(lambda part: _DATE_PARTS[part[0]], text)


class _Fields:
    """Takes options one by one, so that what is left over is unknown."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self._left = dict(raw)

    def text(self, name: str) -> str:
        value = self._left.pop(name, "")
        if not isinstance(value, str) or not (value.isprintable() or name == "delimiter"):
            raise InvalidOptions(f"{name} must be a text")
        return value

    def flag(self, name: str) -> bool:
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            raise InvalidOptions(f"{name} must be true or false")
        return value

    def whole(self, name: str, default: int) -> int:
        value = self._left.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000:
            raise InvalidOptions(f"{name} must be a whole number from 0 to 1000")
        return value

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self._left.pop(name, "")
        if value != "" and value not in known:
            raise InvalidOptions(f"{name} must be one of {', '.join(map(repr, known))}")
        return str(value)

    def words(self, name: str) -> frozenset[str]:
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise InvalidOptions(f"{name} must be a list of words")
        return frozenset(value)

    def columns(self) -> dict[str, Column]:
        value = self._left.pop("columns", None)
        if not isinstance(value, dict) or not value:
            raise InvalidOptions("a CSV source needs columns, e.g. {'booked_on': 'Date', 'amount': 'Amount'}")
        if unknown := sorted(set(value) - set(COLUMNS)):
            raise InvalidOptions(f"columns has unknown {', '.join(unknown)}; known are {', '.join(COLUMNS)}")
        for name, column in value.items():
            is_number = isinstance(column, int) and not isinstance(column, bool) and 1 <= column <= 1_000
            if not is_number and not (isinstance(column, str) and column):
                raise InvalidOptions(f"the column of {name} must be a name, or a number from 1")
        return value

    def refuse_rest(self, format: StatementFormat) -> None:
        if self._left:
            raise InvalidOptions(f"a source of {format} has no option {', '.join(sorted(self._left))}")
