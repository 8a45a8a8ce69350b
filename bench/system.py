"""Holdfast as it ships, on a scratch directory: real servers, all processes, authentication, every fsync on."""

import argparse
import http.client
import json
import os
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import redis

from app.command_line import PROJECT
from app.commands.connection import wait_until_ready
from app.commands.keys import ensure_first_key
from app.commands.up import child_environment
from app.domain.breaks import ProofReport
from app.embedded.child_process import free_port
from app.embedded.servers import EmbeddedServers, ServerUrls
from app.ledger.migrate import upgrade
from app.metrics_directory import metrics_directory
from app.settings import Settings, settings_from
from app.supervisor import Service, Supervisor, processes
from app.wiring.workers import build_reconciler
from bench.audit import Auditor, LedgerReads
from bench.load.requests import CURRENCY
from bench.load.workload import account_id

HOST = "127.0.0.1"
API_PROCESSES = 2
DRAIN_PROCESSES = 2
CLEARING = "clearing:bank"
OPENING_MINOR = 10**9
HOT_OPENING_MINOR = 10**13
"""Account 0 pays for everybody in the hot scenarios; no run must end for lack of funds."""

BACKLOG_SECONDS = 120.0
"""A backlog that takes longer than this to post is a failure to report, not one to wait for."""

POLL_SECONDS = 0.02


class BacklogRemains(Exception):
    """Payments stay pending."""


class System:
    """One Holdfast. As a context manager it runs; start it from the main thread."""

    name = "Holdfast"

    def __init__(self, directory: Path, *, drains: int = DRAIN_PROCESSES) -> None:
        self._directory = directory
        self._arguments = argparse.Namespace(host=HOST, port=free_port(), workers=drains, api_workers=API_PROCESSES)
        self._servers = EmbeddedServers(directory)
        self._metrics = metrics_directory(directory)
        self.address = HOST, self._arguments.port
        self.key = ""

    def __enter__(self) -> Self:
        """Starts the servers, the schema, and all processes."""
        self._servers.__enter__()
        self._metrics.__enter__()
        try:
            own = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
            self.environment = {**own, **child_environment(self._servers.urls, self._directory)}
            self.settings: Settings = settings_from(self.environment)
            upgrade(self._servers.owner_database_url, self.settings.partitions)
            self.key = ensure_first_key(self._servers.owner_database_url) or ""
            groups = processes(self._arguments, self._directory)
            self.supervisor = Supervisor(groups, self.environment, PROJECT, lambda _: None)
            self.supervisor.start()
            wait_until_ready(HOST, self._arguments.port, self.supervisor)
            self.database = psycopg.connect(self.urls.owner_database_url, autocommit=True)
            self.cache = redis.Redis.from_url(self.urls.redis_url, decode_responses=True)
            self._reconciler = build_reconciler(self.settings)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.auditor = Auditor(LedgerReads(self.posted, self.balances, self.entry_sums, self.answered))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops everything."""
        if hasattr(self, "database"):
            self.database.close()
        if hasattr(self, "supervisor"):
            self.supervisor.stop()
        self._metrics.__exit__(None, None, None)
        self._servers.stop()

    @property
    def urls(self) -> ServerUrls:
        """Where its servers are."""
        return self._servers.urls

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    # Accounts

    def open_accounts(self, count: int) -> None:
        """Wallets 0 to count − 1 with money from the bank, all through the API; the auditor starts from there.

        All of them are in the cache afterwards; otherwise first rounds alone would pay for cold accounts.
        """
        with Client(self) as client:
            client.create(CLEARING, "asset")
            for number in range(count):
                client.create(account_id(number), "liability")
            for number in range(count):
                amount = HOT_OPENING_MINOR if number == 0 else OPENING_MINOR
                client.pay(f"opening-{number}", CLEARING, account_id(number), amount)
            for number in range(count):
                client.call("GET", f"/v1/accounts/{account_id(number)}/balance")
        self.quiesce()
        self.auditor.open()

    # Processes

    def drains(self) -> list[Service]:
        """The processes that post."""
        return [service for service in self.supervisor.services() if service.name.startswith("drain")]

    def stop_drains(self) -> None:
        """Stops the drains, so that the outbox grows."""
        for service in self.drains():
            service.ask_to_stop()
        for service in self.drains():
            service.stop()

    def start_drains(self, count: int | None = None) -> None:
        """Starts all drains again, or the first `count`; the sweep wakes them within a second."""
        for service in self.drains()[:count]:
            if service.child is None:
                service.start(self.environment, PROJECT)

    # State

    def backlog(self) -> int | None:
        """Payments that are not in the ledger yet, as /readyz tells; None where it does not know."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request("GET", "/readyz")
            backlog: int | None = json.loads(connection.getresponse().read())["backlog"]
            return backlog
        finally:
            connection.close()

    def quiesce(self) -> float:
        """Waits until nothing is pending; returns the seconds that took."""
        began = time.monotonic()
        while (backlog := self.backlog()) != 0:
            if time.monotonic() - began > BACKLOG_SECONDS:
                raise BacklogRemains(f"{backlog} payments are still pending after {BACKLOG_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def reconcile(self, *, full: bool = False) -> ProofReport:
        """The project's own proof."""
        return self._reconciler.run(full=full)

    # What the auditor reads

    def posted(self, run: str) -> list[str]:
        """External ids of a run, as posted."""
        query = "SELECT external_id FROM ledger_transaction WHERE external_id >= %s AND external_id < %s"
        return [row[0] for row in self.database.execute(query, (f"{run}-", f"{run}."))]

    def balances(self) -> dict[str, int]:
        """The wallets' balances."""
        query = "SELECT account_id, balance_minor FROM account_balance WHERE account_id LIKE 'wallet:%'"
        return dict(self.database.execute(query).fetchall())

    def entry_sums(self) -> dict[str, int]:
        """The wallets' entries, added up; a wallet is a liability, so a credit is a plus."""
        query = "SELECT account_id, -sum(amount_minor) FROM entry WHERE account_id LIKE 'wallet:%' GROUP BY 1"
        return {account: int(total) for account, total in self.database.execute(query)}

    def answered(self, accounts: Collection[str]) -> dict[str, tuple[int, int]]:
        """Balance and held amount of accounts, as the API tells them."""
        with Client(self) as client:
            return {one: client.balance(one) for one in accounts}


class Client:
    """A plain client for what is not measured."""

    def __init__(self, system: System) -> None:
        self._connection = http.client.HTTPConnection(*system.address, timeout=30)
        self._headers = system.headers

    def __enter__(self) -> Self:
        """Connects when needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the connection."""
        self._connection.close()

    def call(self, method: str, path: str, document: object = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of one call."""
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body, {**self._headers, **headers})
        response = self._connection.getresponse()
        content = response.read()
        try:
            return response.status, json.loads(content)
        except ValueError:
            return response.status, content.decode(errors="replace")

    def raw(self, method: str, path: str, body: str, content_type: str) -> int:
        """Status of a call whose body is sent as it is."""
        self._connection.request(method, path, body, {**self._headers, "Content-Type": content_type})
        response = self._connection.getresponse()
        response.read()
        return response.status

    def create(self, account: str, kind: str) -> None:
        """Creates an account."""
        status, answer = self.call(
            "POST", "/v1/accounts", {"account_id": account, "type": kind, "currency_code": CURRENCY}
        )
        assert status in (200, 201), answer

    def pay(self, external_id: str, source: str, destination: str, amount_minor: int) -> None:
        """Makes a payment."""
        document = {
            "external_id": external_id,
            "source_account_id": source,
            "destination_account_id": destination,
            "amount_minor": amount_minor,
            "currency_code": CURRENCY,
        }
        status, answer = self.call("POST", "/v1/payments", document)
        assert status in (200, 201), answer

    def balance(self, account: str) -> tuple[int, int]:
        """Balance and held amount."""
        status, answer = self.call("GET", f"/v1/accounts/{account}/balance")
        assert status == 200, answer
        return answer["balance_minor"], answer["held_minor"]
