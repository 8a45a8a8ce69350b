"""What a payment waits for when it meets an account: prepared statements on a connection that is kept for them.

A process asks for the facts of each account that it meets, and somebody for the balance of each that is not in the
cache. Through the pool that took four round trips and eight, and the composing of the queries; this way it takes one.
"""

from collections.abc import Iterable
from select import POLLIN, poll
from threading import Lock
from typing import Any

import psycopg
from sqlalchemy import Engine

from app.domain.accounts import AccountFacts, AccountStatus, AccountType
from app.domain.partitions import parse_payment_id
from app.domain.posting import LedgerBalance
from app.ledger.database import translated

_FACTS = """
SELECT account_id, entity_id, type, currency_code, status, overdraft_limit_minor IS NOT NULL
FROM account WHERE account_id = ANY(%s::text[])
"""
# One statement sees one moment. Its first row is there even where there is no such account.
_FOR_HYDRATION = """
SELECT s.value, h.payment_ids, h.amounts, b.account_id, b.entity_id, b.currency_code, b.normal_sign, b.balance_minor,
    b.floor_minor, b.version, b.entry_count, b.updated_at
FROM ledger_setting s LEFT JOIN account_balance b ON b.account_id = ANY(%s::text[])
LEFT JOIN LATERAL (SELECT array_agg(payment_id) AS payment_ids, array_agg(hold_minor) AS amounts FROM hold
    WHERE guarded_account_id = b.account_id AND state = 'authorized' AND hold_minor > 0) h ON true
WHERE s.name = 'directory_version'
"""


class KeptReader:
    """Reads accounts, one look at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._kept: psycopg.Connection[Any] | None = None

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """What a payment must know of these accounts; unknown ones are left out."""
        return {
            row[0]: AccountFacts(row[0], row[1], AccountType(row[2]), row[3], AccountStatus(row[4]), row[5])
            for row in self._rows(_FACTS, account_ids)
        }

    def balances_for_hydration(
        self, account_ids: Iterable[str]
    ) -> tuple[int, dict[str, LedgerBalance], dict[str, dict[str, int]]]:
        """Of one moment: the directory version, these accounts' balances, and their open authorizations.

        The authorizations are amounts held by account and outbox position.
        """
        rows = self._rows(_FOR_HYDRATION, account_ids)
        balances: dict[str, LedgerBalance] = {}
        open_holds: dict[str, dict[str, int]] = {}
        for _, payment_ids, amounts, account_id, *others in rows:
            if account_id is not None:
                balances[account_id] = LedgerBalance(account_id, *others)
            if payment_ids:
                open_holds[account_id] = dict(zip(map(_position, payment_ids), amounts, strict=True))
        return int(rows[0][0]), balances, open_holds

    def _rows(self, query: str, account_ids: Iterable[str]) -> list[tuple[Any, ...]]:
        with translated(), self._lock:
            return self._connection().execute(query, (list(account_ids),), prepare=True).fetchall()

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


def _position(payment_id: str) -> str:
    """Where the intent of an authorization stood in its outbox: its hold has that name."""
    place = parse_payment_id(payment_id)
    assert place is not None
    return place.position


def _is_quiet(connection: psycopg.Connection[Any]) -> bool:
    """Whether nothing has come unasked: a server that closes a connection says so."""
    if connection.closed:
        return False
    looked = poll()
    looked.register(connection.fileno(), POLLIN)
    return not looked.poll(0)
