"""The facts of accounts, read by one prepared statement on a connection that is kept for it.

A process asks once for each account that it meets, while a payment waits. Through the pool that took four round trips
and the composing of a query; this way it takes one.
"""

from collections.abc import Iterable
from select import POLLIN, poll
from threading import Lock
from typing import Any

import psycopg
from sqlalchemy import Engine

from app.domain.accounts import AccountFacts, AccountStatus, AccountType
from app.ledger.database import translated

_FACTS = """
SELECT account_id, entity_id, type, currency_code, status, overdraft_limit_minor IS NOT NULL
FROM account WHERE account_id = ANY(%s::text[])
"""


class FactsReader:
    """Reads facts, one look at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._kept: psycopg.Connection[Any] | None = None

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """What a payment must know of these accounts; unknown ones are left out."""
        with translated(), self._lock:
            rows = self._connection().execute(_FACTS, (list(account_ids),), prepare=True).fetchall()
        return {
            row[0]: AccountFacts(row[0], row[1], AccountType(row[2]), row[3], AccountStatus(row[4]), row[5])
            for row in rows
        }

    def _connection(self) -> psycopg.Connection[Any]:
        """The kept connection, or a new one where the server has closed it since."""
        if self._kept is not None and not _is_quiet(self._kept):
            self._kept.close()
            self._kept = None
        if self._kept is None:
            pooled = self._engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            connection.autocommit = True
            self._kept = connection
        return self._kept


def _is_quiet(connection: psycopg.Connection[Any]) -> bool:
    """Whether nothing has come unasked: a server that closes a connection says so."""
    if connection.closed:
        return False
    looked = poll()
    looked.register(connection.fileno(), POLLIN)
    return not looked.poll(0)
