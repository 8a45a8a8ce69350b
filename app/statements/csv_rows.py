"""Rows of the CSV files that banks and spreadsheets write, each with the physical line on which it begins."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import BinaryIO

from app.domain.statement import UnreadableStatement

LARGEST_VALUE = 128 * 1024
"""Characters of one value, the limit of the `csv` module: an unclosed quote must not fill the memory."""

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(slots=True, frozen=True)
class Row:
    """One row: its physical line and its values."""

    line: int
    values: list[str]


def csv_rows(file: BinaryIO, *, encoding: str, delimiter: str, skip: int = 0) -> Iterator[Row]:
    """The rows after `skip` physical lines, without blank ones; raises UnreadableStatement with line and cause."""
    lines = _Lines(file, encoding or "utf-8")
    try:
        yield from _rows(lines, delimiter, skip)
    finally:
        lines.detach()


def _rows(lines: _Lines, delimiter: str, skip: int) -> Iterator[Row]:
    for _ in range(skip):
        next(lines, "")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begun = lines.number + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableStatement(begun, f"{error}; is a quote not closed?") from None
        if any(value.strip() for value in values):
            yield Row(begun, values)


class _Lines(Iterable[str]):
    """The physical lines of a file, counted, so that a byte that does not decode has a line."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.number = 0
        self._encoding = encoding
        self._wrapper = TextIOWrapper(_checked(file, encoding), encoding=_with_mark(encoding), newline="")

    def detach(self) -> None:
        """Leave the file open: its opener closes it."""
        self._wrapper.detach()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._wrapper)
        except UnicodeError as error:
            cause = f"the file is not in {self._encoding}: {error}; name its encoding in the source's options"
            raise UnreadableStatement(self.number + 1, cause) from None
        self.number += 1
        if "\x00" in line:
            raise UnreadableStatement(self.number, "there is a NUL character; is the file in UTF-16?")
        return line


def first_line(file: BinaryIO, encoding: str) -> str:
    """The first line of a file, or what of it can be read at a glance; the file is back at its beginning."""
    begin = file.read(LARGEST_VALUE)
    file.seek(0)
    text = begin.decode(encoding or "utf-8", "replace")
    return (text.splitlines() or [""])[0]


def _checked(file: BinaryIO, encoding: str) -> BinaryIO:
    """The file; refused if its mark says UTF-16 and the source does not."""
    begin = file.read(2)
    file.seek(0)
    if begin in _UTF_16_MARKS and encoding != "utf-16":
        raise UnreadableStatement(1, "the file is in UTF-16; set the source's encoding to utf-16")
    return file


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding


def swallows_rows(values: list[str], delimiter: str) -> bool:
    """Whether a value holds what looks like another row: from an unclosed quote to a stray one."""
    if len(values) < 3:
        return False
    lines = (line for value in values if "\n" in value or "\r" in value for line in value.splitlines()[1:])
    return any(line.count(delimiter) >= len(values) - 1 for line in lines)
