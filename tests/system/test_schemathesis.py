"""The running system does what its OpenAPI document says, whatever schemathesis makes up by that document.

No server error, no status, header, content type or body that is not documented, no schema breach; what the document
allows is not malformed, and what it does not allow is refused. `HOLDFAST_LONG=1` tries some thousand cases more.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.command_line import PROJECT
from tests.events.receiver import receiving
from tests.patience import COMMAND_S
from tests.system.harness import System
from tests.system.schemathesis_material import OFF, material

HOOKS = "tests.system.schemathesis_hooks"
MATERIAL = "HOLDFAST_MATERIAL"
SEED = 20261127
SHORT_S = 45
LONG_S = 2_400

REFUSED = [400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422]
ALLOWED = ["2xx", 304, 400, 404, 409, 412, 422]
"""Rules of the ledger refuse what its document allows: no schema knows balances. 400 has a check of its own."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed here"
)


@pytest.fixture
def fuzzed_system(tmp_path: Path) -> Iterator[System]:
    """A system of its own, for no account of it is safe. Its webhooks lead to a receiver on this machine."""
    system = System(tmp_path / "data", HOLDFAST_ALLOW_PRIVATE_WEBHOOKS="1")
    try:
        yield system.start()
        system.wait_posted()
        repaired = json.loads(system.run("reconcile", "--repair", "a test", "--json", check=0).stdout)["repaired"]
        assert set(repaired) <= set(OFF)
        system.prove()
    finally:
        system.stop()


# One worker: before Python 3.11.5, two threads that parse Python at the same time break each other.
SETTINGS = f"""\
hooks = "{HOOKS}"
seed = {SEED}
continue-on-failure = true
workers = 1
cache = {{ enabled = false }}
checks.enabled = true  # all; those of the command line would outdo those of an operation
checks.positive_data_acceptance.expected-statuses = {json.dumps(ALLOWED)}
checks.negative_data_rejection.expected-statuses = {json.dumps(REFUSED)}

# It ends only with its client.
[[operations]]
include-path = "/v1/events/stream"
enabled = false

# What has ended stays on record and can be read: a monitor says when, and a key that it is revoked.
[[operations]]
include-path = ["/v1/monitors/{{monitor_id}}", "/v1/keys/{{key_id}}"]
checks.use_after_free.enabled = false

# A malformed payment of a batch is refused in its place, in an answer of 200.
[[operations]]
include-path = "/v1/payments/batch"
checks.negative_data_rejection.expected-statuses = {json.dumps([200, *REFUSED])}
"""


def tried(system: System, directory: Path, *options: str, timeout_s: float) -> dict[str, Any]:
    """Run it; returns its report. The test fails with what it says if it finds anything."""
    made = directory / "material.json"
    with receiving() as receiver:
        made.write_text(json.dumps(material(system, receiver.url)))
        return _tried(system, directory, *options, timeout_s=timeout_s)


def _tried(system: System, directory: Path, *options: str, timeout_s: float) -> dict[str, Any]:
    (directory / "schemathesis.toml").write_text(SETTINGS)
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "--config-file", str(directory / "schemathesis.toml"), "run"),
            *(f"http://127.0.0.1:{system.port}/v1/openapi.json", "--header", f"Authorization: Bearer {system.key}"),
            *("--report", "json", "--report-json-path", str(directory / "report.json"), *options),
        ],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), MATERIAL: str(directory / "material.json")},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    output = re.sub(r"hf_\w+", "hf_*", done.stdout)
    assert done.returncode == 0, f"{output}\n{done.stderr}"
    report: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return report


def test_the_system_does_what_its_document_says(fuzzed_system: System, tmp_path: Path) -> None:
    report = tried(fuzzed_system, tmp_path, "--phases", "coverage", "--max-time", str(SHORT_S), timeout_s=COMMAND_S)
    assert report["errors"] == []
    assert report["test_cases"]["generated"] > len(report["operations"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(LONG_S + 600)
@pytest.mark.skipif(os.environ.get("HOLDFAST_LONG") != "1", reason="the long form")
def test_the_system_does_what_its_document_says_for_thousands_of_cases(fuzzed_system: System, tmp_path: Path) -> None:
    report = tried(fuzzed_system, tmp_path, "--max-examples", "150", timeout_s=LONG_S)
    assert report["complete"]
    assert report["errors"] == []
    assert report["test_cases"]["generated"] > 3_000
    assert not any(report["warnings"].values()), report["warnings"]
