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
from uuid import uuid4

import pytest

from app.command_line import PROJECT
from tests.patience import COMMAND_S
from tests.system.harness import BANK, Client, System, payment

HOOKS = "tests.system.schemathesis_hooks"
KNOWN_IDS = "HOLDFAST_KNOWN_IDS"
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
    """A system of its own, for no account of it is safe."""
    system = System(tmp_path / "data")
    try:
        yield system.start()
        system.wait_posted()
        system.prove()
    finally:
        system.stop()


def made(client: Client) -> dict[str, list[str]]:
    """Something of each kind, so that requests reach the rules behind the look-up: the ids, as the hooks take them."""
    client.account(BANK, "asset")
    accounts = [client.account("fuzz:alice", metadata={"tier": 1}), client.account("fuzz:bob")]
    for account_id in accounts:
        client.fund(account_id, 100_000_000)
    paid = [client.pay(payment(*accounts, 70_000), prefer="wait=30").body["payment_id"]]
    authorized = [client.pay(payment(*accounts, 300, capture="manual")).body["payment_id"] for _ in range(20)]
    sides = zip(accounts, ("debit", "credit"), strict=True)
    entries = [{"account_id": one, "direction": side, "amount_minor": 5} for one, side in sides]
    body = {"external_id": uuid4().hex, "reason": "a test", "entries": entries}
    journals = [client.request("POST", "/v1/journals", body).body["journal_id"]]
    client.request("POST", "/v1/assets", {"currency_code": "FUZZ", "minor_units": 2, "name": "Fuzz"})
    return {
        "account_id": accounts,
        "PATCH account_id": [client.account("fuzz:changed")],  # a change may close it
        "payment_id": paid,
        "payment_id capture": authorized[:10],
        "payment_id void": authorized[10:],
        "journal_id": journals,
        "currency_code": ["EUR", "FUZZ"],
    }


# One worker: before Python 3.11.5, two threads that parse Python at the same time break each other.
SETTINGS = f"""\
hooks = "{HOOKS}"
seed = {SEED}
continue-on-failure = true
workers = 1
cache = {{ enabled = false }}
checks.positive_data_acceptance.expected-statuses = {json.dumps(ALLOWED)}
checks.negative_data_rejection.expected-statuses = {json.dumps(REFUSED)}

# It ends only with its client.
[[operations]]
include-path = "/v1/events/stream"
enabled = false

# A malformed payment of a batch is refused in its place, in an answer of 200.
[[operations]]
include-path = "/v1/payments/batch"
checks.negative_data_rejection.expected-statuses = {json.dumps([200, *REFUSED])}
"""


def tried(system: System, directory: Path, *options: str, timeout_s: float) -> dict[str, Any]:
    """Run it; returns its report. The test fails with what it says if it finds anything."""
    client = system.client()
    ids = directory / "ids.json"
    ids.write_text(json.dumps(made(client)))
    client.close()
    (directory / "schemathesis.toml").write_text(SETTINGS)
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "--config-file", str(directory / "schemathesis.toml"), "run"),
            *(f"http://127.0.0.1:{system.port}/v1/openapi.json", "--header", f"Authorization: Bearer {system.key}"),
            *("--checks", "all", "--report", "json", "--report-json-path", str(directory / "report.json"), *options),
        ],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), KNOWN_IDS: str(ids)},
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
