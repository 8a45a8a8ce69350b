"""The baselines' server and their ledgers, in a database of their own on the same Postgres."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from app.api.server import THREADS
from app.command_line import PROJECT
from app.commands.connection import wait_until_ready
from app.embedded.child_process import free_port
from app.supervisor import Service, Supervisor, api
from bench.audit import Auditor, LedgerReads
from bench.load.requests import CURRENCY
from bench.load.workload import account_id
from bench.system import API_PROCESSES, HOST, HOT_OPENING_MINOR, OPENING_MINOR, System

DATABASE = "baselines"
SCHEMA_SQL = Path(__file__).with_name("baselines") / "schema.sql"

TITLES = {
    "for_update": "(a) SELECT … FOR UPDATE",
    "serializable": "(b) SERIALIZABLE, retried",
    "optimistic": "(c) version column, retried",
    "race": "(d) read-modify-write race",
    "parse_only": "(e) parsing only",
    "tigerbeetle": "(h) TigerBeetle",
}
IN_POSTGRES = ("for_update", "serializable", "optimistic", "race")


class RivalServer:
    """One granian with the product's settings that serves all baselines, by WSGI, with as many threads."""

    def __init__(self, system: System, directory: Path, tigerbeetle_address: str | None = None) -> None:
        self._system = system
        self._logs = directory
        self.address = HOST, free_port()
        self._tigerbeetle_address = tigerbeetle_address

    def __enter__(self) -> Self:
        """Makes the database and starts the server."""
        owner_url = self._system.urls.owner_database_url
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        self.url = owner_url.rpartition("/")[0] + "/" + DATABASE
        self.database = psycopg.connect(self.url, autocommit=True)
        for name in IN_POSTGRES:
            schema = sql.Identifier(name)
            self.database.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            self.database.execute(sql.SQL("SET search_path = {}").format(schema))
            self.database.execute(SCHEMA_SQL.read_text())
        self._supervisor = Supervisor([[self._service()]], self._environment(), PROJECT, lambda _: None)
        self._supervisor.start()
        wait_until_ready(*self.address, self._supervisor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it."""
        self._supervisor.stop()
        self.database.close()

    def _service(self) -> Service:
        import argparse

        arguments = argparse.Namespace(host=self.address[0], port=self.address[1], api_workers=API_PROCESSES)
        service = api(arguments, self._logs)
        theirs = {"rsgi": "wsgi", "workers.api:application": "bench.baselines.wsgi:application"}
        service.command = [theirs.get(one, one) for one in service.command] + ["--blocking-threads", str(THREADS)]
        service.log_path = self._logs / "baselines.log"
        return service

    def _environment(self) -> dict[str, str]:
        further = {"BENCH_BASELINES_URL": self.url}
        if self._tigerbeetle_address:
            further["BENCH_TIGERBEETLE_ADDRESS"] = self._tigerbeetle_address
        return {**self._system.environment, **further}


class RivalLedger:
    """The ledger of one Postgres baseline."""

    def __init__(self, server: RivalServer, name: str) -> None:
        self._database = server.database
        self._schema = name
        self.auditor = Auditor(LedgerReads(self.posted, self.balances, self.entry_sums))

    def use(self) -> None:
        """Point the connection, which all baselines share, to this one's tables."""
        self._database.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))

    def reset(self, accounts: int) -> None:
        """Empty tables and freshly funded accounts: every round of a baseline starts from the same, best state."""
        self.use()
        self._database.execute("TRUNCATE account, payment, hold, entry")
        rows = [
            (account_id(number), CURRENCY, HOT_OPENING_MINOR if number == 0 else OPENING_MINOR)
            for number in range(accounts)
        ]
        with self._database.cursor() as cursor:
            with cursor.copy("COPY account (account_id, currency_code, balance_minor) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            # Opening balances are entries too, so that the entries of an account add up to its balance.
            cursor.execute(
                """INSERT INTO entry (payment_id, account_id, amount_minor)
                SELECT 0, account_id, balance_minor FROM account"""
            )
            cursor.execute("ANALYZE account")
        self.auditor.open()

    def come_to_rest(self) -> None:
        """Wait until no more payments come: a generator leaves its last requests behind."""
        self.use()
        before, now = -1, self._count()
        while now != before:
            pause_for_settling()
            before, now = now, self._count()

    def _count(self) -> int:
        [row] = self._database.execute("SELECT count(*) FROM payment").fetchall()
        return int(row[0])

    def posted(self, run: str) -> list[str]:
        """External ids of a run."""
        self.use()
        query = "SELECT external_id FROM payment WHERE external_id >= %s AND external_id < %s"
        return [row[0] for row in self._database.execute(query, (f"{run}-", f"{run}."))]

    def balances(self) -> dict[str, int]:
        """All balances."""
        self.use()
        return dict(self._database.execute("SELECT account_id, balance_minor FROM account").fetchall())

    def entry_sums(self) -> dict[str, int]:
        """All entries, added up."""
        self.use()
        rows = self._database.execute("SELECT account_id, sum(amount_minor) FROM entry GROUP BY 1")
        return {account: int(total) for account, total in rows}


def pause_for_settling(seconds: float = 0.2) -> None:
    """Lets the last answers of a finished run go out before its ledger is read."""
    time.sleep(seconds)
