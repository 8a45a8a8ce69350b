"""The whole system as its users meet it: started by `python -m app up`, spoken to over HTTP, looked into by SQL."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import redis

from app.command_line import PROJECT
from app.embedded.attach import Running, announced
from app.embedded.child_process import free_port
from tests.patience import COMMAND_S, until

BANK = "clearing:bank"

START_S = 180.0
"""How long a start or a stop may take while the machine is busy: a database that was killed recovers first."""


@dataclass(slots=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Message
    body: Any

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        return self.body.get("code") if isinstance(self.body, dict) else None


class Client:
    """One keep-alive connection with a key; a broken one is rebuilt on the next request."""

    def __init__(self, port: int, key: str, timeout_s: float = 40.0) -> None:
        self._port, self._key, self._timeout_s = port, key, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; OSError or HTTPException when no answer came."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_s)
        sent = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **(headers or {})}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body).encode(), sent)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return Answer(response.status, response.headers, json.loads(raw) if raw else None)

    def get(self, path: str) -> Any:
        """The body of a successful GET."""
        answer = self.request("GET", path)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.body

    def pay(self, body: Mapping[str, Any], **headers: str) -> Answer:
        """Submit a payment once."""
        return self.request("POST", "/v1/payments", body, {name.title(): value for name, value in headers.items()})

    def account(self, account_id: str, type: str = "liability", **more: Any) -> str:
        """Create an account, or find it created."""
        body = {"account_id": account_id, "type": type, "currency_code": "EUR", **more}
        answer = self.request("POST", "/v1/accounts", body)
        assert answer.status in (200, 201), answer.body
        return account_id

    def fund(self, account_id: str, amount_minor: int) -> None:
        """Money from the bank, in the ledger when this returns."""
        answer = self.pay(payment(BANK, account_id, amount_minor), prefer="wait=30")
        assert (answer.status, answer.body["status"]) == (201, "posted"), answer.body

    def balance(self, account_id: str) -> dict[str, Any]:
        """An account's funds."""
        body: dict[str, Any] = self.get(f"/v1/accounts/{account_id}/balance")
        return body

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class System:
    """One `up` over a data directory, always on the same port."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.environment = {**without_given_servers(), **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> "System":
        """Start, with further options of `up`, and wait until it is ready."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.data_dir / "up.out").open("ab") as output:
            self.process = subprocess.Popen(
                self.command("up", "--port", str(self.port), *options),
                cwd=PROJECT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(self.is_ready, self.output, START_S)
        return self

    def stop(self) -> None:
        """Stop in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=START_S)
        self.process = None

    def output(self) -> str:
        """What it has said so far."""
        return (self.data_dir / "up.out").read_text()

    def is_ready(self) -> bool:
        """Whether it takes payments."""
        assert self.process is None or self.process.poll() is None, self.output()
        if announced(self.data_dir) is None:
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.readiness().status == 200
        return False

    def readiness(self) -> Answer:
        """The answer of /readyz."""
        client = Client(self.port, "", timeout_s=5.0)
        try:
            return client.request("GET", "/readyz")
        finally:
            client.close()

    @property
    def key(self) -> str:
        """The first API key."""
        return (self.data_dir / "api-key").read_text().strip()

    def client(self) -> Client:
        """A new connection with the first key."""
        return Client(self.port, self.key)

    @property
    def running(self) -> Running:
        """Where its servers are."""
        found = announced(self.data_dir)
        assert found is not None
        return found

    def run(self, *arguments: str, check: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of `python -m app` on this data directory."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert check is None or done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command and return at once."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, *arguments: str) -> list[str]:
        name, *rest = arguments
        return [sys.executable, "-m", "app", name, *rest, "--data-dir", str(self.data_dir)]

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows, read as the owner of the ledger."""
        with psycopg.connect(self.running.owner_database_url, autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()  # type: ignore[call-overload,no-any-return]

    def cache(self) -> redis.Redis:
        """A client of the cache."""
        return redis.Redis.from_url(self.running.redis_url, decode_responses=True)

    @contextmanager
    def held_lock(self, account_id: str) -> Iterator[None]:
        """A lock on an account's balance, held by somebody who takes their time."""
        with psycopg.connect(self.running.owner_database_url) as connection:
            connection.execute("SELECT 1 FROM account_balance WHERE account_id = %s FOR UPDATE", [account_id])
            yield
            connection.rollback()

    # Processes

    def named(self, part: str) -> list[psutil.Process]:
        """The direct children whose command line contains `part`."""
        assert self.process is not None
        return [child for child in psutil.Process(self.process.pid).children() if part in command_line(child)]

    def api_workers(self) -> list[psutil.Process]:
        """The processes that serve requests."""
        return [
            worker
            for api in self.named("granian")
            for worker in api.children()
            if "tracker" not in command_line(worker)
        ]

    def wait_posted(self) -> None:
        """Wait until nothing waits for the ledger any more."""
        until(lambda: self.is_ready() and self.readiness().body["backlog"] == 0, self.output)

    def prove(self) -> None:
        """Cache and ledger agree, and every chain holds."""
        self.run("reconcile", "--full", check=0)
        self.run("verify", check=0)


def payment(source: str, destination: str, amount_minor: int, **more: Any) -> dict[str, Any]:
    """The body of a payment; without an external id it gets a new one."""
    return {
        "external_id": uuid4().hex,
        "source_account_id": source,
        "destination_account_id": destination,
        "amount_minor": amount_minor,
        "currency_code": "EUR",
        **more,
    }


def without_given_servers() -> dict[str, str]:
    """This environment, so that the system runs servers of its own."""
    given = ("DATABASE_URL", "REDIS_URL", "HOLDFAST_OWNER_DATABASE_URL", "HOLDFAST_QUEUE_URL")
    return {name: value for name, value in os.environ.items() if name not in given}


def command_line(process: psutil.Process) -> str:
    """What it was started as; nothing when it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
