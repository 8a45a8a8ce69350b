"""The markup of OFX as a stream: tags and values, in SGML and in XML, with the lines that they stand on.

The libraries for OFX read the whole file into memory and refuse it for one bad value, so the markup is read here: there
is little of it. No entity is resolved but the characters that markup needs.
"""

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from app.domain.statement import UnreadableStatement

_CHUNK = 64 * 1024
_LONGEST_TOKEN = 1024 * 1024
"""Characters: a longer tag or value is no OFX, and must not fill the memory."""

_LONGEST_HEADER = 16 * 1024
_BEGIN = re.compile(rb"<OFX\s*>", re.IGNORECASE)
_TOKEN = re.compile(
    r"<!\[CDATA\[(?P<cdata>.*?)\]\]>|<!--.*?-->|<\?.*?\?>"
    r"|<(?P<end>/?)(?P<name>[A-Za-z0-9._]+)\s*(?P<empty>/?)>|(?P<text>[^<]+)",
    re.DOTALL,
)
_ENCODINGS = (
    (re.compile(rb"encoding\s*=\s*[\"']([\w.-]+)[\"']", re.IGNORECASE), ""),
    (re.compile(rb"^CHARSET:\s*([\w.-]+)", re.MULTILINE), "cp"),
)


@dataclass(slots=True, frozen=True)
class Mark:
    """A tag, or an element with its value: `is_end` of an end tag, `value` of an element."""

    name: str
    line: int
    value: str = ""
    is_end: bool = False


def markup(file: BinaryIO, encoding: str) -> Iterator[Mark]:
    """The marks of a file from <OFX> on; raises UnreadableStatement. Bytes that do not decode are left escaped."""
    header = b""
    while not (begin := _BEGIN.search(header)):
        piece = file.read(_CHUNK)
        if not piece or len(header) > _LONGEST_HEADER:
            raise UnreadableStatement(1, "there is no <OFX>, so this is no OFX file")
        header += piece
    decoder = codecs.getincrementaldecoder(encoding or _encoding_of(header[: begin.start()]))("surrogateescape")
    line = 1 + _line_ends(header[: begin.start()].decode("latin-1"))
    text = decoder.decode(header[begin.start() :])
    yield from _paired(_tokens(file, decoder, text, line))


def _encoding_of(header: bytes) -> str:
    """The encoding that a header names; CP1252 where it names none, as version 1 has it."""
    for pattern, prefix in _ENCODINGS:
        if found := pattern.search(header):
            name = found[1].decode("ascii")
            for one in (name, prefix + name):
                try:
                    known = codecs.lookup(one).name
                except LookupError:
                    continue
                return "cp1252" if known == "ascii" else known  # who says ASCII sends CP1252
    return "utf-8" if b"UTF-8" in header.upper() or b"UNICODE" in header.upper() else "cp1252"


def _line_ends(text: str) -> int:
    return text.count("\n") or text.count("\r")


def _tokens(
    file: BinaryIO, decoder: codecs.IncrementalDecoder, text: str, line: int
) -> Iterator[tuple[re.Match[str], int]]:
    """Each token with its line. The last one of a piece waits for the next piece, for it may go on there."""
    is_last = False
    while True:
        position = 0
        while match := _TOKEN.match(text, position):
            if match.end() == len(text) and not is_last:
                break
            yield match, line
            line += _line_ends(match[0])
            position = match.end()
        text = text[position:]
        if is_last:
            if text:
                cause = f"{text[:40]!r} is no markup of OFX, or the file ends before </OFX>; nothing was read"
                raise UnreadableStatement(line, cause)
            return
        if len(text) > _LONGEST_TOKEN:
            raise UnreadableStatement(line, "a tag or value has no end")
        piece = file.read(_CHUNK)
        is_last = not piece
        text += decoder.decode(piece, final=is_last)


def _paired(tokens: Iterator[tuple[re.Match[str], int]]) -> Iterator[Mark]:
    """Marks: a tag together with the value after it; end tags of elements with a value say nothing new."""
    name, begun, value = "", 0, ""
    for match, line in tokens:
        if match["text"] is not None or match["cdata"] is not None:
            value += html.unescape(match["text"]) if match["text"] is not None else match["cdata"]
            continue
        if match["name"] is None:
            continue
        if name:
            yield Mark(name, begun, value.strip())
        was, had_value = name, bool(value.strip())
        name, value = "", ""
        if match["end"]:
            if not (was == match["name"].upper() and had_value):
                yield Mark(match["name"].upper(), line, is_end=True)
        elif not match["empty"]:
            name, begun = match["name"].upper(), line
    if name:
        yield Mark(name, begun, value.strip())
