"""Clients that are generated from the served OpenAPI document work at once, in Python and in TypeScript."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import COMMAND_S
from tests.system.harness import System

CLIENTS = Path(__file__).parent / "clients"

SHOWN = {
    "status": "posted",
    "balance_minor": 500,
    "balanced": True,
    "refused": "insufficient_funds",
    "available_minor": 500,
}
"""What each client's program finds."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a program prints; the test fails with its output if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=COMMAND_S
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def document(system: System, tmp_path: Path) -> Path:
    """The document that the running system serves."""
    path = tmp_path / "openapi.json"
    client = system.client()
    path.write_text(json.dumps(client.get("/v1/openapi.json")))
    client.close()
    return path


def shown(output: str) -> Any:
    """What a client's program says at its end."""
    return json.loads(output.splitlines()[-1])


@pytest.mark.skipif(
    importlib.util.find_spec("openapi_python_client") is None, reason="openapi-python-client is not installed here"
)
def test_a_generated_python_client_works_at_once(system: System, document: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"post_hooks": []}))
    made = tmp_path / "holdfast_client"
    options = ("--path", document, "--config", config, "--meta", "none", "--output-path", made)
    run(sys.executable, "-m", "openapi_python_client", "generate", *options, cwd=tmp_path)
    program = (CLIENTS / "client.py", f"http://127.0.0.1:{system.port}", system.key)
    assert shown(run(sys.executable, *program, cwd=tmp_path, PYTHONPATH=str(tmp_path))) == SHOWN


@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed here")
def test_a_generated_typescript_client_compiles_strictly_and_works_at_once(
    system: System, document: Path, tmp_path: Path
) -> None:
    shutil.copytree(CLIENTS, tmp_path, dirs_exist_ok=True)
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True, timeout=COMMAND_S
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the generator here: {installed.stderr[-500:]}")
    tools = tmp_path / "node_modules" / ".bin"
    run(tools / "openapi-typescript", document, "-o", "schema.d.ts", cwd=tmp_path)
    run(tools / "tsc", "--project", ".", cwd=tmp_path)
    assert shown(run("node", "out/client.js", f"http://127.0.0.1:{system.port}", system.key, cwd=tmp_path)) == SHOWN
