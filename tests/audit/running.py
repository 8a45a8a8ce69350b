"""A running system whose audit and evidence are asked for from outside."""

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from app.command_line import PROJECT
from app.embedded.attach import announced
from tests.api.world import BANK
from tests.embedded.test_up import System
from tests.patience import COMMAND_S, PATIENCE_S


class Audited:
    """A running system, calls to it, and its ledger as the owner sees it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.key = (system.data_dir / "api-key").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and body of one request; status 0 where the connection broke."""
        sent = {"Authorization": f"Bearer {self.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, None if body is None else json.dumps(body), sent)
                response = connection.getresponse()
                return response.status, json.loads(response.read() or b"{}")
            except (OSError, http.client.HTTPException):
                return 0, {}

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        running = announced(self.system.data_dir)
        assert running is not None
        with psycopg.connect(running.owner_database_url) as connection:
            return connection.execute(query, parameters or None).fetchall()  # type: ignore[call-overload, no-any-return]

    def prepare(self) -> None:
        for account_id, type in ((BANK, "asset"), ("alice", "liability")):
            body = {"account_id": account_id, "type": type, "currency_code": "EUR"}
            assert self.call("POST", "/v1/accounts", body)[0] in (200, 201)

    def is_drained(self) -> bool:
        return self.call("GET", "/readyz")[1].get("backlog") == 0

    def export_heads(self, path: Path) -> Path:
        """Sign the heads of all chains, and keep them, as an auditor does."""
        command = [sys.executable, "-m", "app", "heads", "export", str(path), "--data-dir", str(self.system.data_dir)]
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=COMMAND_S)
        return path


@contextlib.contextmanager
def audited_system(directory: Path, **settings: str) -> Iterator[Audited]:
    """A system that runs, with accounts, and is stopped at the end."""
    system = System(directory, **settings)
    try:
        audited = Audited(system.wait_ready())
        audited.prepare()
        yield audited
    finally:
        system.stop()
