"""Journals, reversals and refunds in the books, for readers."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select

from app.domain.entries import Entry, LedgerTransaction
from app.ledger.database import translated
from app.ledger.schema import entry, ledger_transaction

_TRANSACTIONS = select(
    *(column for column in ledger_transaction.c if column.name not in ("previous_hash", "hash")),
)


class JournalBooks:
    """Ledger transactions with their entries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, transaction_id: str) -> LedgerTransaction | None:
        """One transaction by its id; None where there is none."""
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
