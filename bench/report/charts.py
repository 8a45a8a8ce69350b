"""Plots as SVG: bars of throughput, latency histograms, throughput over time."""

from math import log10
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from bench.figures import TICK_MS, Figure, Figures
from bench.report.markdown import number

STYLE = Style(
    background="white",
    plot_background="white",
    font_family="system-ui, sans-serif",
    colors=("#0b6e4f", "#c44536", "#f2a65a", "#5b5f97", "#8d99ae", "#2b2d42", "#b8b8ff"),
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    title_font_size=16,
)
# No script: the picture must work inside a page without network, and in a README.
COMMON = {
    "style": STYLE,
    "js": [],
    "width": 860,
    "height": 360,
    "disable_xml_declaration": True,
    "legend_at_bottom": True,
}


def draw(figures: Figures, directory: Path) -> list[Path]:
    """All plots that the figures allow; returns the files."""
    drawn = []
    for scenario in figures.scenarios():
        valid = [figure for figure in figures.all if figure.scenario == scenario and figure.is_valid]
        for kind, chart in (
            ("throughput", throughput(scenario, valid)),
            ("latency", latency(scenario, valid)),
            ("over-time", over_time(scenario, valid)),
        ):
            if chart is not None:
                path = directory / f"{scenario}-{kind}.svg"
                chart.add_xml_filter(_without_scripts)
                path.write_text(chart.render() + "\n")
                drawn.append(path)
    return drawn


def throughput(scenario: str, figures: list[Figure]) -> pygal.Bar | None:
    """A bar for each contestant, at each number of connections."""
    if not figures or len({figure.unit for figure in figures}) > 1:
        return None
    connections = sorted({figure.connections for figure in figures})
    chart = pygal.Bar(title=f"{scenario}: {figures[0].unit}", value_formatter=number, **COMMON)
    if connections != [0]:
        chart.x_labels = [f"{count} connections" for count in connections]
    for name in dict.fromkeys(figure.contestant for figure in figures):
        rates = {figure.connections: figure.rate for figure in figures if figure.contestant == name}
        chart.add(name, [rates.get(count) for count in connections])
    return chart


def latency(scenario: str, figures: list[Figure]) -> pygal.XY | None:
    """The share of answers by latency, on a logarithmic scale, at the number of connections that most have."""
    shown = [figure for figure in _alike(figures) if figure.histogram.total]
    if not shown:
        return None
    chart = pygal.XY(
        title=f"{scenario}: share of answers by latency, {shown[0].connections} connections",
        x_title="milliseconds",
        y_title="%",
        logarithmic=False,
        show_dots=False,
        value_formatter=number,
        **COMMON,
    )
    bars = {figure.contestant: list(figure.histogram.bars(per_decade=20)) for figure in shown}
    for name, listed in bars.items():
        total = sum(count for _, count in listed)
        # The x axis carries the bar's number, so that it is logarithmic; its labels are milliseconds.
        chart.add(name, [(_place(upper), 100 * count / total) for upper, count in listed])
    places = [_place(upper) for listed in bars.values() for upper, _ in listed]
    decades = [
        step for step in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000) if min(places) <= _place(step) <= max(places)
    ]
    chart.x_labels = [{"value": _place(step), "label": f"{step:g}"} for step in decades]
    return chart


def over_time(scenario: str, figures: list[Figure]) -> pygal.XY | None:
    """Answers a second in each tenth of a second of the first round."""
    shown = [figure for figure in _alike(figures) if len(figure.rounds[0].ticks) > 2]
    if not shown:
        return None
    chart = pygal.XY(
        title=f"{scenario}: throughput over time",
        x_title="seconds",
        show_dots=False,
        value_formatter=number,
        include_x_axis=True,
        **COMMON,
    )
    for figure in shown:
        ticks = figure.rounds[0].ticks[:-1]
        chart.add(figure.contestant, [(n * TICK_MS / 1000, count * 1000 / TICK_MS) for n, count in enumerate(ticks)])
    return chart


def _alike(figures: list[Figure]) -> list[Figure]:
    """The figures at the number of connections that most contestants have."""
    counts = [figure.connections for figure in figures]
    return [figure for figure in figures if figure.connections == max(counts, key=counts.count)] if counts else []


def _without_scripts(root: Any) -> Any:
    """A picture needs none; and a page with scripts in its pictures is refused by careful readers."""
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root


def _place(milliseconds: float) -> float:
    return log10(max(milliseconds, 0.001))
