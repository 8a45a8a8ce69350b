"""Texts of statements: decoded, and without the characters that a ledger cannot keep or a screen cannot show."""

import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import BinaryIO

LONGEST_TEXT = 4_000
"""Characters kept of one text: more than any bank sends, and little enough for a million lines."""

_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_WHITE = re.compile(r"\s+")
_ESCAPED = re.compile("[\udc80-\udcff]")


def clean(text: str | None) -> str:
    """A text in one line; a control character becomes U+FFFD, because no one knows what it stood for."""
    if not text:
        return ""
    shown = _WHITE.sub(" ", _NOT_SHOWN.sub("\ufffd", text)).strip()
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def undecoded_byte(text: str) -> str | None:
    """The byte that a text decoded with `surrogateescape` could not decode, as a message shows it."""
    found = _ESCAPED.search(text)
    return f"0x{ord(found[0]) - 0xDC00:02X}" if found else None


def lines_of_bytes(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The physical lines, numbered from 1, without their ends: LF, CR LF or CR."""
    wrapper = TextIOWrapper(file, encoding="latin-1", newline=None)
    try:
        for number, line in enumerate(wrapper, start=1):
            yield number, line.rstrip("\n").encode("latin-1")
    finally:
        wrapper.detach()
