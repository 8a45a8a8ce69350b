"""An import needs no more memory for a large file than for a small one.

`HOLDFAST_LONG=1 .venv/bin/pytest -s tests/services/statements/test_memory.py` imports a million lines.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import World

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
SMALL, LARGE = (100_000, 1_000_000) if IS_LONG else (2_000, 40_000)

BOUND_KB = 8 * 1024
"""By how much the peaks may differ: the lines of the larger file would take that much many times over."""

OPTIONS = {
    "columns": {"booked_on": "Date", "amount": "Amount", "text": "Text", "id": "Id", "balance": "Balance"},
    "currency": "EUR",
}
PROGRAM = """
import re, sys
from app.arguments import parse
from app.commands.statements import run
code = run(parse("statements", sys.argv[1:]))
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""


def money(amount_minor: int) -> str:
    return f"{'-' if amount_minor < 0 else ''}{abs(amount_minor) // 100}.{abs(amount_minor) % 100:02}"


def written(path: Path, count: int) -> str:
    """A file of so many lines over a year, with its running balance."""
    balance = 0
    with path.open("w") as file:
        file.write("Date,Amount,Text,Id,Balance\n")
        for n in range(count):
            amount = n * 7_919 % 200_001 - 100_000 or 1
            balance += amount
            day = f"2026-{1 + n * 12 // count:02}-{1 + n * 336 // count % 28:02}"
            file.write(f"{day},{money(amount)},payment number {n} of somebody,{path.stem}-{n:08},{money(balance)}\n")
    return str(path)


def told(world: World, *arguments: str) -> list[str]:
    """What an action prints in a process of its own; the last line is the most memory that it had, in KB."""
    settings = world.settings
    environment = {
        "DATABASE_URL": settings.database_url,
        "HOLDFAST_OWNER_DATABASE_URL": settings.owner_database_url,
        "REDIS_URL": settings.redis_url,
    }
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(3_600 if IS_LONG else 300)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_large_file_takes_no_more_memory_than_a_small_one(world: World, tmp_path: Path) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps(OPTIONS))
    told(world, "sources", "bank", "--options", str(options))
    peaks = []
    for name, count in (("small", SMALL), ("large", LARGE)):
        path = tmp_path / f"{name}.csv"
        lines = told(world, "import", written(path, count), "--source", "bank")
        path.unlink()
        assert f"{count:,} added + 0 known + 0 with an id of another line = {count:,} lines; 0 refused" in lines
        assert "proven" in lines[0]
        peaks.append(int(lines[-1]))
        print(f"{count:,} lines: at most {peaks[-1] // 1024} MB")
    assert peaks[1] - peaks[0] < BOUND_KB
    assert world.rows("SELECT count(*) FROM statement_line") == [(SMALL + LARGE,)]
