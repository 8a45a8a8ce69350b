"""Writing CSV: every export goes through here, so that all have one form and none can be misused.

The form is that of RFC 4180 in UTF-8. Numbers are written as numbers, without quotes; every text is in quotes. A text
that a spreadsheet would evaluate as a formula gets an apostrophe in front, as a text that begins with an apostrophe
does, so `original` gives back exactly what was exported.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from io import StringIO

Value = str | int | Decimal | bool | None

APOSTROPHE = "'"
_EVALUATED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", APOSTROPHE)
"""How a text begins that a spreadsheet may take for a formula. Some read the wide forms of East Asian keyboards too."""

_ROWS_AT_ONCE = 500
"""Rows that are encoded together."""


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> Iterator[bytes]:
    """A header and rows as pieces of a CSV file, made as they are asked for."""
    written = StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        writer.writerow([_cell(value) for value in row])
        if number % _ROWS_AT_ONCE == 0:
            yield _taken(written)
    yield _taken(written)


def neutral(text: str) -> str:
    """A text as it is exported: no spreadsheet evaluates it."""
    return APOSTROPHE + text if text.startswith(_EVALUATED) else text


def original(text: str) -> str:
    """The text that was exported as this one."""
    return text[1:] if text.startswith(APOSTROPHE) and text[1:].startswith(_EVALUATED) else text


def _cell(value: Value) -> str | int | Decimal:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return neutral(value) if isinstance(value, str) else value


def _taken(written: StringIO) -> bytes:
    text = written.getvalue()
    written.seek(0)
    written.truncate()
    return text.encode()
