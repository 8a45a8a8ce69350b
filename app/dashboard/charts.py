"""Charts as geometry for SVG: paths in ink, with the scale and the axis as text beside them.

The page is complete with them. Where scripts run, `charts.js` draws over the SVG with uPlot, so that one can point at a
value; it reads the same points.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, log10

WIDTH = 300
HEIGHT = 80


@dataclass(slots=True, frozen=True)
class Bar:
    """One bar."""

    x: float
    y: float
    width: float
    height: float


@dataclass(slots=True, frozen=True)
class Chart:
    """A chart; `caption` says in words what the picture says."""

    title: str
    caption: str
    kind: str
    scale: Sequence[str]
    axis: Sequence[str]
    data: str
    high: float
    """The top of the scale, in the units of `data`."""
    grid: str
    low: float = 0.0
    line: str = ""
    second: str = ""
    area: str = ""
    bars: Sequence[Bar] = field(default_factory=list)
    is_tall: bool = False
    width: int = WIDTH
    height: int = HEIGHT


def ceiling(highest: float) -> float:
    """A round number that is at least as large, so that the scale reads well."""
    if highest <= 0:
        return 1.0
    magnitude: float = 10.0 ** (ceil(log10(highest)) - 1)
    return next(step * magnitude for step in (1, 2, 4, 5, 6, 8, 10) if step * magnitude >= highest * 0.999_999)


def points(title: str, times: Sequence[datetime], *series: tuple[str, Sequence[float | None]]) -> str:
    """What a script draws: times in seconds, and the named values at them."""
    return json.dumps(
        {
            "title": title,
            "times": [at.timestamp() for at in times],
            "series": [{"name": name, "values": list(values)} for name, values in series],
        }
    )


def path(values: Sequence[float | None], top: float, width: int = WIDTH, height: int = HEIGHT) -> str:
    """A line through values from left to right; it is interrupted where there is none."""
    step = width / max(len(values) - 1, 1)
    pieces: list[str] = []
    is_drawing = False
    for number, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        place = f"{_short(number * step)},{_short(height - value / top * height)}"
        pieces.append(f"L{place}" if is_drawing else f"M{place}h0")  # a value by itself is a dot
        is_drawing = True
    return "".join(pieces)


def stairs(values: Sequence[float], low: float, high: float, width: int, height: int) -> str:
    """A line that keeps each value until the next."""
    step = width / max(len(values) - 1, 1)
    y = [_short(height - (value - low) / (high - low) * height) for value in values]
    return f"M0,{y[0]}" + "".join(f"H{_short(number * step)}V{one}" for number, one in enumerate(y[1:], 1))


def closed(line: str, values: Sequence[float | None], width: int = WIDTH, height: int = HEIGHT) -> str:
    """The area under a line without gaps."""
    return "" if any(value is None for value in values) else f"{line}L{width},{height}L0,{height}Z"


def bars(values: Sequence[float], top: float) -> list[Bar]:
    """A bar for each value."""
    step = WIDTH / len(values)
    return [
        Bar(round(number * step + 1, 1), round(HEIGHT - value / top * HEIGHT, 1), round(step - 2, 1),
            round(value / top * HEIGHT, 1))
        for number, value in enumerate(values)
    ]  # fmt: skip


def grid(width: int = WIDTH, height: int = HEIGHT) -> str:
    """Three lines."""
    return f"M0,0H{width}M0,{height // 2}H{width}M0,{height}H{width}"


def short_number(value: float) -> str:
    """A number for a scale."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
