"""README.md promises that other servers do as well as the embedded ones: here, those that the machine has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.command_line import PROJECT
from tests.servers import CACHE_PROGRAM, POSTGRES_PROGRAMS

RULES = ("tests/cache", "tests/ledger/test_posting.py", "tests/services/test_payments_machine.py")
"""What rests on the servers most: the scripts, the schema and its statements, and both together under random steps."""


def debian_postgres() -> Path | None:
    """The newest Postgres that Debian's packages have put here."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def test_the_rules_hold_over_the_machines_own_servers() -> None:
    postgres, cache = debian_postgres(), shutil.which("redis-server")
    if postgres is None and cache is None:
        pytest.skip("neither postgresql nor redis-server is installed here")
    environment = dict(os.environ)
    if postgres is not None:
        environment[POSTGRES_PROGRAMS] = str(postgres)
    if cache is not None:
        environment[CACHE_PROGRAM] = cache
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not fake", *RULES],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
