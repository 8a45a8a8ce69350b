"""Plots as SVG: bars of throughput, latency histograms, throughput over time."""

from math import log10
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from bench.figures import REQUESTS, TICK_MS, Figure, Figures
from bench.report.markdown import LOCK, number
from bench.scenarios.payments import MAIN_CONNECTIONS

STYLE = Style(
    background="white",
    plot_background="white",
    opacity=1,
    opacity_hover=1,
    guide_stroke_color="#dddddd",
    guide_stroke_dasharray="none",
    major_guide_stroke_color="#bbbbbb",
    major_guide_stroke_dasharray="none",
    font_family="system-ui, sans-serif",
    colors=("#0b6e4f", "#c44536", "#f2a65a", "#5b5f97", "#8d99ae", "#2b2d42", "#b8b8ff"),
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    title_font_size=16,
    value_font_size=11,
)
TICKS_A_SECOND = 1_000 // TICK_MS
LONG_TICKS = 10 * TICKS_A_SECOND
"""Beyond these, batches that come less often than a tick would be drawn as a comb."""

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

    def write(name: str, chart: pygal.graph.graph.Graph | None) -> None:
        if chart is not None:
            chart.add_xml_filter(_without_scripts)
            path = directory / f"{name}.svg"
            path.write_text(chart.render() + "\n")
            drawn.append(path)

    write("Targets-ratios", ratios(figures))
    for scenario in figures.scenarios():
        valid = [figure for figure in figures.all if figure.scenario == scenario and figure.is_valid]
        write(f"{scenario}-throughput", throughput(scenario, valid))
        write(f"{scenario}-latency", latency(scenario, valid))
        write(f"{scenario}-over-time", over_time(scenario, valid))
    return drawn


def ratios(figures: Figures) -> pygal.Bar | None:
    """One picture of the whole: each contestant's throughput over the row lock's, where both were measured."""
    scenarios = [name for name in figures.scenarios() if _is_throughput(figures.find(name, LOCK, MAIN_CONNECTIONS))]
    shown = [one for one in figures.all if one.scenario in scenarios and one.connections == MAIN_CONNECTIONS]
    if not scenarios:
        return None
    chart = pygal.Bar(
        title=f"throughput over {LOCK} = 1, {MAIN_CONNECTIONS} connections",
        value_formatter=lambda ratio: f"{ratio:.1f}",
        print_values=True,
        print_values_position="top",
        **COMMON,
    )
    chart.x_labels = scenarios
    for name in dict.fromkeys(one.contestant for one in shown if one.is_valid):
        chart.add(name, [_over_lock(figures, scenario, name) for scenario in scenarios])
    return chart


def _is_throughput(figure: Figure | None) -> bool:
    return figure is not None and figure.unit == REQUESTS and bool(figure.rate)


def _over_lock(figures: Figures, scenario: str, contestant: str) -> float | None:
    rate, lock = (figures.rate(scenario, name, MAIN_CONNECTIONS) for name in (contestant, LOCK))
    return rate / lock if rate is not None and lock else None


def throughput(scenario: str, figures: list[Figure]) -> pygal.Bar | None:
    """A bar for each contestant, at each number of connections."""
    if not figures or len({figure.unit for figure in figures}) > 1:
        return None
    connections = sorted({figure.connections for figure in figures})
    chart = pygal.Bar(title=f"{scenario}: {figures[0].unit}", value_formatter=number, **COMMON)
    if connections != [0]:
        chart.x_labels = [_connections(count) for count in connections]
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
        title=f"{scenario}: share of answers by latency, {_connections(shown[0].connections)}",
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
    """Answers a second in each tenth of a second of the first round, in each whole one of a long round."""
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
        width = TICKS_A_SECOND if len(ticks) > LONG_TICKS else 1
        sums = [sum(ticks[at : at + width]) for at in range(0, len(ticks) - width + 1, width)]
        seconds = width / TICKS_A_SECOND
        chart.add(figure.contestant, [(n * seconds, count / seconds) for n, count in enumerate(sums)])
    return chart


def _alike(figures: list[Figure]) -> list[Figure]:
    """The figures at the number of connections that most contestants have, the main one where several have as many."""
    counts = [figure.connections for figure in figures]
    best = max(set(counts), key=lambda count: (counts.count(count), count == MAIN_CONNECTIONS), default=None)
    return [figure for figure in figures if figure.connections == best]


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _without_scripts(root: Any) -> Any:
    """A picture needs no script, and strict readers refuse a page whose pictures have one."""
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root


def _place(milliseconds: float) -> float:
    """Counted from a microsecond: the y axis is drawn at zero, and must not run through the curves."""
    return log10(max(milliseconds, 0.001) * 1_000)
