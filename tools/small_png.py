#!/usr/bin/env python3
"""Makes pictures of pages small: cuts what is below, and keeps a few dozen colours. It needs nothing but Python.

python3 -m tools.small_png PICTURE.png OUT.png [--height PIXELS]
"""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

COLOURS = 64
"""Text in grey shades, and four hues with their tints, need no more."""

Colour = bytes
Rows = list[list[Colour]]


def read(path: Path, height: int | None) -> tuple[int, Rows]:
    """The width, and the rows of a PNG as browsers write them: eight bits a channel, not interlaced."""
    data, place, packed = path.read_bytes(), 8, b""
    width = channels = 0
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        if kind == b"IHDR":
            width, _, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", body)
            if depth != 8 or colour not in (2, 6) or interlaced:
                raise ValueError(f"{path} is another kind of PNG")
            channels = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            packed += body
        place += 12 + size
    raw, step, above = zlib.decompress(packed), width * channels, bytearray(width * channels)
    rows: Rows = []
    for number in range(len(raw) // (step + 1)):
        if height is not None and number == height:
            break
        start = number * (step + 1)
        above = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + step]), above, channels)
        rows.append([bytes(above[at : at + 3]) for at in range(0, step, channels)])
    return width, rows


def _unfiltered(kind: int, row: bytearray, above: bytearray, channels: int) -> bytearray:
    for at in range(len(row)):
        left = row[at - channels] if at >= channels else 0
        corner = above[at - channels] if at >= channels else 0
        up = above[at]
        added = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind] if kind else 0
        row[at] = (row[at] + added) & 255
    return row


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def write(path: Path, width: int, rows: Rows) -> None:
    """Write the rows with a palette of their colours; every other becomes the nearest of them."""
    counted = Counter(pixel for row in rows for pixel in row)
    palette = _palette(counted)
    index = {colour: _nearest(colour, palette) for colour in counted}
    packed = zlib.compress(b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in rows), 9)
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)
    parts = (("IHDR", header), ("PLTE", b"".join(palette)), ("IDAT", packed), ("IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind.encode(), body) for kind, body in parts))


def _palette(counted: Counter[Colour]) -> list[Colour]:
    """The most frequent colours, and then those that are the least like any of them: a mark may be a few pixels."""
    palette = [colour for colour, _ in counted.most_common(COLOURS // 2)]
    distances = {colour: min(_distance(colour, one) for one in palette) for colour in counted}
    while len(palette) < COLOURS and any(distances.values()):
        furthest = max(distances, key=distances.__getitem__)
        palette.append(furthest)
        distances = {colour: min(known, _distance(colour, furthest)) for colour, known in distances.items()}
    return palette


def _distance(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _nearest(colour: Colour, palette: Sequence[Colour]) -> int:
    return min(range(len(palette)), key=lambda n: _distance(colour, palette[n]))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def main(argv: list[str]) -> int:
    """Make one picture small."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--height", type=int)
    given = parser.parse_args(argv)
    write(given.out, *read(given.picture, given.height))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
