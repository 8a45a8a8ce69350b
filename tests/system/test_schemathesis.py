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
from pathlib import Path
from typing import Any

import pytest

from app.command_line import PROJECT
from tests.system.harness import BANK, Client, System, payment

HOOKS = "tests.system.schemathesis_hooks"
SEED = 20261127
SHORT_S = 45
LONG_S = 1_500

REFUSED = [400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422]
ALLOWED = ["2xx", 304, 400, 404, 409, 412, 422]
"""Rules of the ledger refuse what its document allows: no schema knows balances. 400 has a check of its own."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed here"
)


def made(client: Client) -> dict[str, list[str]]:
    """Something of each kind, so that requests reach the rules behind the look-up: ids by the name of their field."""
    accounts = [client.account("fuzz:alice", metadata={"tier": 1}), client.account("fuzz:bob")]
    for account_id in accounts:
        client.fund(account_id, 1_000_000)
    paid = client.pay(payment(*accounts, 700), prefer="wait=30").body["payment_id"]
    authorized = client.pay(payment(*accounts, 300, capture="manual"), prefer="wait=30").body["payment_id"]
    sides = zip(accounts, ("debit", "credit"), strict=True)
    entries = [{"account_id": one, "direction": side, "amount_minor": 5} for one, side in sides]
    body = {"external_id": "fuzz-journal", "reason": "a test", "entries": entries}
    journal = client.request("POST", "/v1/journals", body).body["journal_id"]
    asset = client.request("POST", "/v1/assets", {"currency_code": "FUZZ", "minor_units": 2, "name": "Fuzz"})
    return {
        "account_id": [*accounts, BANK],
        "payment_id": [paid, authorized],
        "journal_id": [journal],
        "currency_code": ["EUR", asset.body["currency_code"]],
        "entity_id": ["default"],
    }


def settings(ids: dict[str, list[str]]) -> str:
    """The configuration of a run, in TOML."""
    bound = {f"path.{name}": name for name in ids if name != "entity_id"}
    bound |= {f"body.{name}": name for name in ("account_id", "currency_code", "entity_id")}
    bound |= {f"body.{side}_account_id": "account_id" for side in ("source", "destination")}
    bound |= {"body.entries[*].account_id": "account_id", "body.destinations[*].account_id": "account_id"}
    tables = {f"dictionaries.{name}": {"values": values} for name, values in ids.items()}
    tables |= {f'parameters."{where}"': {"dictionary": name, "probability": 0.5} for where, name in bound.items()}
    tables |= {
        "cache": {"enabled": False},
        "checks.positive_data_acceptance": {"expected-statuses": ALLOWED},
        "checks.negative_data_rejection": {"expected-statuses": REFUSED},
    }
    lines = [f'hooks = "{HOOKS}"', f"seed = {SEED}", "continue-on-failure = true", "workers = 2"]
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    # A malformed payment of a batch is refused in its place, in an answer of 200.
    lines += ["[[operations]]", 'include-path = "/v1/payments/batch"']
    lines += ["[operations.checks.negative_data_rejection]", f"expected-statuses = {json.dumps([200, *REFUSED])}"]
    return "\n".join(lines) + "\n"


def tried(system: System, directory: Path, *options: str, timeout_s: float) -> dict[str, Any]:
    """Run it; returns its report. The test fails with what it says if it finds anything."""
    client = system.client()
    (directory / "schemathesis.toml").write_text(settings(made(client)))
    client.close()
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program, "--config-file", str(directory / "schemathesis.toml"), "run"),
            *(f"http://127.0.0.1:{system.port}/v1/openapi.json", "--header", f"Authorization: Bearer {system.key}"),
            *("--checks", "all", "--report", "json", "--report-json-path", str(directory / "report.json"), *options),
        ],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    output = re.sub(r"hf_\w+", "hf_*", done.stdout)
    assert done.returncode == 0, f"{output}\n{done.stderr}"
    report: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return report


def test_the_system_does_what_its_document_says(system: System, tmp_path: Path) -> None:
    report = tried(system, tmp_path, "--phases", "coverage", "--max-time", str(SHORT_S), timeout_s=280)
    print(json.dumps(report)[:2000])


@pytest.mark.slow
@pytest.mark.timeout(LONG_S + 600)
@pytest.mark.skipif(os.environ.get("HOLDFAST_LONG") != "1", reason="the long form")
def test_the_system_does_what_its_document_says_for_thousands_of_cases(system: System, tmp_path: Path) -> None:
    tried(system, tmp_path, "--max-examples", "200", timeout_s=LONG_S)
