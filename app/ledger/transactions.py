"""Ledger transactions and authorizations, for readers."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select

from app.domain.authorizations import Authorization
from app.domain.hash_chain import Entry, LedgerTransaction
from app.ledger.connections import translated
from app.ledger.posting_records import authorization_from_row
from app.ledger.schema import entry, hold, ledger_transaction


class LedgerAuthorizations:
    """The authorizations of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, payment_id: str) -> Authorization | None:
        """One authorization; None if there is none."""
        return self._one(hold.c.payment_id == payment_id)

    def by_external_id(self, entity_id: str, external_id: str) -> Authorization | None:
        """One authorization by its external id."""
        return self._one(and_(hold.c.entity_id == entity_id, hold.c.external_id == external_id))

    def due(self, now: datetime, limit: int) -> list[Authorization]:
        """Up to `limit` authorizations that have expired at `now`, the longest overdue first."""
        query = select(hold).where(hold.c.state == "authorized", hold.c.expires_at <= now)
        with translated(), self._engine.connect() as connection:
            return [
                authorization_from_row(row)
                for row in connection.execute(query.order_by(hold.c.expires_at).limit(limit))
            ]

    def _one(self, condition: ColumnElement[bool]) -> Authorization | None:
        with translated(), self._engine.connect() as connection:
            row = connection.execute(select(hold).where(condition)).first()
        return None if row is None else authorization_from_row(row)


_TRANSACTIONS = select(
    *(column for column in ledger_transaction.c if column.name not in ("previous_hash", "hash")),
)


class LedgerTransactions:
    """Ledger transactions with their entries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, transaction_id: str) -> LedgerTransaction | None:
        """One transaction by its id; None if there is none."""
        return self._first(ledger_transaction.c.payment_id == transaction_id)

    def by_external_id(self, entity_id: str, external_id: str) -> LedgerTransaction | None:
        """One transaction by its external id."""
        return self._first(
            and_(ledger_transaction.c.entity_id == entity_id, ledger_transaction.c.external_id == external_id)
        )

    def related(self, transaction_id: str, kind: str) -> list[LedgerTransaction]:
        """The transactions of a kind that relate to another one, oldest first."""
        return self._all(and_(ledger_transaction.c.relates_to == transaction_id, ledger_transaction.c.kind == kind))

    def _first(self, condition: ColumnElement[bool]) -> LedgerTransaction | None:
        return next(iter(self._all(condition)), None)

    def _all(self, condition: ColumnElement[bool]) -> list[LedgerTransaction]:
        query = _TRANSACTIONS.where(condition).order_by(ledger_transaction.c.chain_seq)
        with translated(), self._engine.connect() as connection:
            found = [LedgerTransaction(*[*row, []]) for row in connection.execute(query)]
            for transaction in found:
                transaction.entries = _entries(connection, transaction)
        return found


def _entries(connection: Connection, transaction: LedgerTransaction) -> list[Entry]:
    columns: list[Any] = [
        entry.c.account_id,
        entry.c.entry_number,
        entry.c.amount_minor,
        entry.c.balance_minor,
        entry.c.currency_code,
    ]
    query = select(*columns).where(
        entry.c.partition == transaction.partition, entry.c.chain_seq == transaction.chain_seq
    )
    return [Entry(*row) for row in connection.execute(query.order_by(entry.c.leg))]
