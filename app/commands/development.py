"""For developers: `test` checks the code and runs the tests, `bench` measures Holdfast.

The measurements compare it with the usual ways to keep balances, on servers of their own, and can write a report.
"""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence

from app.command_line import PROJECT

# The tests come last, so that their summary is the last line of the output.
STEPS: list[tuple[str, list[str]]] = [
    ("lint", ["ruff", "check"]),
    ("format", ["ruff", "format", "--check"]),
    ("types", ["mypy"]),
    ("tests", ["pytest"]),
]

# One worker more than there are cores, because tests wait for servers for a quarter of their time. Each has servers of
# its own, so four are enough anywhere; a file stays on one, for the sake of its module's fixtures. Files go out in the
# order of tests/conftest.py, the slowest first, and not by the number of their tests.
SIDE_BY_SIDE = ["-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "loadfile", "--no-loadscope-reorder"]


def test(arguments: argparse.Namespace) -> int:
    """Runs each step and shows its own output."""
    codes = [run_step(name, command, arguments.further) for name, command in STEPS]
    return next((code for code in codes if code), 0)


def run_step(name: str, command: Sequence[str], for_pytest: Sequence[str]) -> int:
    """One tool, as a module of this interpreter; returns its exit code."""
    further = (for_pytest or SIDE_BY_SIDE) if name == "tests" else ()
    print(f"holdfast: {name}: {' '.join([*command, *further])}", flush=True)
    tool, *options = command
    return subprocess.run([sys.executable, "-m", tool, *options, *further], cwd=PROJECT, check=False).returncode


def bench(arguments: argparse.Namespace) -> int:
    """Run the scenarios. Exit code 1 when Holdfast's ledger was wrong after any of them."""
    scenarios = importlib.import_module("bench.scenarios").SCENARIOS
    if arguments.scenarios == ["list"]:
        print("\n".join(scenarios))
        return 0
    unknown = [name for name in arguments.scenarios if name not in scenarios]
    if unknown:
        print(f"There is no scenario {', '.join(unknown)}. There are: {', '.join(scenarios)}.")
        return 2
    options = importlib.import_module("bench.arena").Options(
        seconds=arguments.duration,
        rounds=arguments.rounds,
        connections=arguments.connections,
        accounts=arguments.accounts,
        growth_accounts=arguments.growth_accounts,
        growth_entries=arguments.growth_entries,
        sustained_seconds=arguments.sustained,
        tigerbeetle=arguments.tigerbeetle,
    )
    content = importlib.import_module("bench.runner").run(
        arguments.scenarios,
        options,
        scratch=arguments.data_dir.absolute() / "bench",
        json_file=arguments.json,
        report=arguments.report,
    )
    wrong = [one for one in content["figures"] if one["contestant"].startswith("Holdfast") and not one["valid"]]
    return 1 if wrong else 0
