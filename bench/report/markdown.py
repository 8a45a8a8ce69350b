"""The report as markdown tables."""

from typing import Any

from bench.figures import Figure, Figures
from bench.rivals import TITLES
from bench.targets import HOLDFAST, Verdict, verdicts

LOCK = TITLES["for_update"]


def markdown(figures: Figures, environment: dict[str, Any], options: dict[str, Any]) -> str:
    """Everything, targets first."""
    parts = ["# Benchmark\n", machine(environment, options), "\n## Targets\n", targets(verdicts(figures))]
    for scenario in figures.scenarios():
        parts += [f"\n## {scenario}\n", table(figures, scenario)]
    return "".join(parts)


def machine(environment: dict[str, Any], options: dict[str, Any]) -> str:
    """Where and how it was taken, in a paragraph."""
    changes = " with changes" if environment["git_changes"] else ""
    return (
        f"Taken {environment['taken_at']} at commit {environment['git_commit'][:10]}{changes}. "
        f"{environment['cpu']}, {environment['cores']} cores shared with the load generator, "
        f"{environment['memory_gb']} GB, Linux {environment['kernel']}, {environment['file_system']}; "
        f"one append and fsync takes {environment['fsync_us_median']:g} µs before the run and "
        f"{environment['fsync_us_median_after']:g} µs after it; load average "
        f"{environment['load_average_before']:g} and {environment['load_average_after']:g}. "
        f"Python {environment['python']}, Postgres {environment['postgres']} (fsync {environment['postgres_fsync']}), "
        f"{environment['cache']} (appendfsync {environment['cache_appendfsync']}), "
        f"granian {environment['packages']['granian']}, generator {environment['wrk']}. "
        f"{options['rounds']} rounds of {options['seconds']:g} s in turn, medians; "
        f"the ledgers are audited after every round.\n"
    )


def targets(found: list[Verdict]) -> str:
    """A line each."""
    lines = ["| target | bound | measured | |", "|---|---|---|---|"]
    for one in found:
        sign = "≤" if one.at_most else "≥"
        measured = "no valid figure" if one.measured is None else f"{number(one.measured)} {one.unit}"
        verdict = {True: "reached", False: "**not reached**", None: "—"}[one.reached]
        lines.append(f"| {one.text} | {sign} {number(one.bound)} {one.unit} | {measured} | {verdict} |")
    return "\n".join(lines) + "\n"


def table(figures: Figures, scenario: str) -> str:
    """All figures of a scenario, each with its ratio to the row lock at the same number of connections."""
    shown = [figure for figure in figures.all if figure.scenario == scenario]
    unit = {figure.unit for figure in shown}
    head = f"| | connections | {unit.pop() if len(unit) == 1 else 'figure'} | × (a) | p50 ms | p99 ms | further |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    lines += [_line(figures, figure) for figure in shown]
    notes = [f"- {figure.contestant}: {note}" for figure in shown for note in figure.notes]
    return "\n".join([*lines, "", *notes] if notes else lines) + "\n"


def _line(figures: Figures, figure: Figure) -> str:
    name = f"**{figure.contestant}**" if figure.contestant.startswith(HOLDFAST) else figure.contestant
    connections = str(figure.connections or "")
    if not figure.is_valid:
        reason = "; ".join(list(dict.fromkeys(figure.problems))[:2]) or "no round was finished"
        return f"| {name} | {connections} | INVALID | | | | {reason} |"
    assert figure.rate is not None
    lock = figures.rate(figure.scenario, LOCK, figure.connections)
    ratio = f"{figure.rate / lock:.2f}" if lock else ""
    histogram = figure.histogram
    p50, p99 = (number(histogram.percentile(q)) if histogram.total else "" for q in (50, 99))
    names = dict.fromkeys(name for one in figure.rounds for name in one.extra)
    extra = ", ".join(f"{name} {number(figure.extra(name))}" for name in names)
    return f"| {name} | {connections} | {number(figure.rate)} | {ratio} | {p50} | {p99} | {extra} |"


def number(value: float | None) -> str:
    """With as many digits as say something."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
