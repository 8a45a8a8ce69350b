"""One benchmark run: servers up, scenarios one after the other, report, servers down."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.domain.errors import Fault
from bench.arena import Arena, Options
from bench.report.environment import afterwards, environment
from bench.report.markdown import markdown
from bench.report.write import document, write_json, write_report
from bench.rivals import RivalServer
from bench.scenarios import NOT_BY_DEFAULT, SCENARIOS
from bench.system import BacklogRemains, System


def run(
    names: Sequence[str], options: Options, *, scratch: Path, json_file: Path | None, report: Path | None
) -> dict[str, Any]:
    """Runs scenarios and returns the JSON document; `scratch` gets a directory that is removed at the end."""
    chosen = list(names) or [name for name in SCENARIOS if name not in NOT_BY_DEFAULT]
    scratch.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=scratch))
    try:
        with ExitStack() as stack:
            arena = prepared(stack, options, directory)
            where = environment(arena.system, directory)
            try:
                for name in chosen:
                    arena.say(f"scenario {name}")
                    SCENARIOS[name](arena)
            finally:
                content = conclude(arena, where, json_file, report)
        return content
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def prepared(stack: ExitStack, options: Options, directory: Path) -> Arena:
    """Holdfast and the baselines' server, with funded accounts."""
    print("bench: starting the servers on scratch directories", flush=True)
    system = stack.enter_context(System(directory / "holdfast"))
    address = None
    if options.tigerbeetle:
        from bench.baselines.tigerbeetle_server import TigerBeetleServer

        address = stack.enter_context(TigerBeetleServer(options.tigerbeetle, directory, options.accounts)).address
    server = stack.enter_context(RivalServer(system, directory / "holdfast" / "logs", address))
    system.open_accounts(options.accounts)
    return Arena(options, system, server, directory)


def conclude(arena: Arena, where: dict[str, Any], json_file: Path | None, report: Path | None) -> dict[str, Any]:
    """A last full proof over everything, then the report; also after an interruption, for what there is."""
    settings = plain(arena.options)
    where = where | afterwards(arena.scratch)
    problem, checked = last_proof(arena)
    for figure in arena.figures.all:
        if problem and figure.contestant.startswith("Holdfast"):
            figure.rounds[-1].problems.append(problem)
    content = document(arena.figures, where, settings)
    content["final_reconciliation"] = {"checked": checked, "problem": problem}
    print("\n" + markdown(arena.figures, where, settings), flush=True)
    if json_file:
        write_json(json_file, content)
    if report:
        write_report(report, arena.figures, where, settings)
    return content


def last_proof(arena: Arena) -> tuple[str, dict[str, int]]:
    """What is wrong, or '', and what was checked. Servers that are gone prove nothing; the report is still made."""
    try:
        arena.system.quiesce()
        report = arena.system.reconcile(full=True)
    except (OSError, BacklogRemains, Fault) as error:
        return f"the final full reconciliation was not possible: {type(error).__name__}", {}
    found = f"the final full reconciliation left {report.open_breaks} open breaks" if report.open_breaks else ""
    return found, report.checked


def plain(options: Options) -> dict[str, Any]:
    """For JSON; the path of a program is nobody's business."""
    return asdict(options) | {"tigerbeetle": options.tigerbeetle is not None}
