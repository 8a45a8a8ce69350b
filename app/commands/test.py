"""`test`: lint, format, types and tests. All of them run; the first failure decides the exit code."""

import argparse
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


def run(arguments: argparse.Namespace) -> int:
    """Runs each step and shows its own output."""
    codes = [run_step(name, command, arguments.further) for name, command in STEPS]
    return next((code for code in codes if code), 0)


def run_step(name: str, command: Sequence[str], for_pytest: Sequence[str]) -> int:
    """One tool, as a module of this interpreter; returns its exit code."""
    further = (for_pytest or SIDE_BY_SIDE) if name == "tests" else ()
    print(f"holdfast: {name}: {' '.join([*command, *further])}", flush=True)
    tool, *options = command
    return subprocess.run([sys.executable, "-m", tool, *options, *further], cwd=PROJECT, check=False).returncode
