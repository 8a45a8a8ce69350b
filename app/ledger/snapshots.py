"""Reading several tables of the ledger at one moment: first the tables' locks, then the snapshot.

A table that is rewritten, by ALTER TABLE or CLUSTER, looks empty to a transaction whose snapshot is older
(PostgreSQL's manual, "Caveats" of concurrency control). A drain would then take an authorization for one that does not
exist. LOCK TABLE takes no snapshot; so what follows it sees every row, and rewriting waits until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.ledger.connections import translated

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection, Engine

LOCK_TABLES = """
LOCK TABLE account, account_balance, entry, hold, ledger_transaction, partition, payment_rejection, payment_return
IN ACCESS SHARE MODE
"""


ROOM_FOR_SUMS = "SET LOCAL work_mem = '64MB'"
"""A report sums by account: with the usual 4 MB, a million accounts would go through files several times."""


def lock_tables(connection: psycopg.Connection[Any]) -> None:
    """Keep the tables as they are until the transaction ends; its first statement, before there is a snapshot."""
    connection.execute(LOCK_TABLES)


@contextmanager
def one_snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection all of whose queries see the ledger at one moment; faults as the ledger's."""
    with translated(), engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql(f"{LOCK_TABLES}; {ROOM_FOR_SUMS}")
        yield connection
