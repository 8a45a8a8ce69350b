"""Lines of newline-delimited JSON out of a stream, in constant memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 64 * 1024
"""Bytes read at once. A server may give nothing before so many have come, so no answer is due before either."""

LONGEST_LINE = 64 * 1024
"""Bytes: a payment with the largest metadata is a quarter of it."""

LINES_AT_ONCE = 500
"""Lines handed on together: enough that a round trip to the cache weighs little."""


class Source(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Line:
    """A line that is not blank, by its number from 1; `text` is None where it was too long and was passed over."""

    number: int
    text: bytes | None


def line_groups(source: Source) -> Iterator[list[Line]]:
    """The lines of a source as they come, up to LINES_AT_ONCE together, and never more than a block ahead."""
    number, rest, is_too_long = 1, b"", False
    while block := source.read(BLOCK):
        first, *further = block.split(b"\n")
        rest += b"" if is_too_long else first
        is_too_long = is_too_long or len(rest) > LONGEST_LINE
        if not further:
            rest = b"" if is_too_long else rest
            continue
        complete = [Line(number, None if is_too_long else rest)]
        complete += [Line(number + n, text) for n, text in enumerate(further[:-1], start=1)]
        number, rest, is_too_long = number + len(further), further[-1], False
        yield from _groups(complete)
    yield from _groups([Line(number, None if is_too_long else rest)])


def _groups(lines: list[Line]) -> Iterator[list[Line]]:
    written = [line for line in lines if line.text is None or (line.text and not line.text.isspace())]
    for start in range(0, len(written), LINES_AT_ONCE):
        yield written[start : start + LINES_AT_ONCE]
