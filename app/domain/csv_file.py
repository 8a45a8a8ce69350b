"""Reading a CSV file strictly: each record with its physical line, and what is wrong with the line to be corrected.

The form is that of RFC 4180 in UTF-8: commas; values with commas, quotes or line breaks in double quotes; lines that
end in LF, CR LF or CR. A byte order mark is skipped, and so are blank lines. Everything else is refused, because a
reader that guesses turns 1,000 into 1.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from typing import BinaryIO

_QUOTED = re.compile(r'(?:\A|(?<=[,\r\n]))"[^"]*(?:""[^"]*)*("?)')
_LINE_END = re.compile(r"\r\n|\r|\n")
_UTF_16_MARKS = ("\xff\xfe", "\xfe\xff")


class MalformedFile(ValueError):
    """The file cannot be read as what it should be; the message names the line and the cause."""

    def __init__(self, line: int, cause: str) -> None:
        super().__init__(f"line {line}: {cause}")


def records(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """The records of a file, each with the physical line (from 1) on which it begins; raises MalformedFile."""
    pending: list[str] = []
    reader = csv.reader(_noted(_lines(file), pending), strict=True)
    while True:
        line = reader.line_num + 1
        pending.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _malformed_record(line, "".join(pending), str(error)) from None
        if fields:
            yield line, fields


def _lines(file: BinaryIO) -> Iterator[str]:
    """The physical lines with their ends. They are cut before they are decoded, so that a wrong byte has a line."""
    for number, raw in enumerate(TextIOWrapper(file, encoding="latin-1", newline=""), start=1):
        if number == 1 and raw.startswith(_UTF_16_MARKS):
            raise MalformedFile(1, "the file is in UTF-16; save it as UTF-8")
        try:
            text = raw.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError as error:
            cause = f"the byte 0x{error.object[error.start]:02X} is not UTF-8; save the file as UTF-8"
            raise MalformedFile(number, cause) from None
        if "\x00" in text:
            raise MalformedFile(number, "there is a NUL character; if the file is in UTF-16, save it as UTF-8")
        yield text.removeprefix("\ufeff") if number == 1 else text


def _noted(lines: Iterable[str], pending: list[str]) -> Iterator[str]:
    """The lines, each noted as part of the record that is being read."""
    for line in lines:
        pending.append(line)
        yield line


def _malformed_record(line: int, text: str, cause: str) -> MalformedFile:
    """What is wrong with a record: nearly always a quote, which may open on a later line than the record begins."""
    for quoted in _QUOTED.finditer(text):
        opened_on = line + len(_LINE_END.findall(text, 0, quoted.start()))
        if not quoted[1]:
            return MalformedFile(opened_on, f"a quote opens here and is never closed ({cause})")
        if text[quoted.end() : quoted.end() + 1] not in (",", "\r", "\n", ""):
            return MalformedFile(opened_on, "the quote that opens here is not closed before a comma or a line's end")
    return MalformedFile(line, cause)
