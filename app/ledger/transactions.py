"""Ledger transactions and authorizations, for readers."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select, text, tuple_

from app.domain.authorizations import Authorization, OpenAuthorizations
from app.domain.hash_chain import Entry, LedgerTransaction
from app.domain.ledger_rows import PaymentReturn
from app.domain.payment import Kind
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.locked_posting import authorization_from_row
from app.ledger.schema import entry, hold, ledger_transaction, payment_return


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

    def open_on(self, account_ids: Collection[str]) -> dict[str, OpenAuthorizations]:
        """What open authorizations hold on these accounts, by the ledger's clock; accounts without one are left out."""
        query = (
            select(
                hold.c.guarded_account_id,
                func.sum(hold.c.hold_minor),
                func.bool_or(hold.c.expires_at <= func.clock_timestamp()),
            )
            .where(hold.c.guarded_account_id == any_of(sorted(account_ids)), hold.c.state == "authorized")
            .group_by(hold.c.guarded_account_id)
        )
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query)
            return {account_id: OpenAuthorizations(int(held), is_due) for account_id, held, is_due in rows}

    def due_on(self, account_ids: Collection[str], limit: int) -> list[Authorization]:
        """Up to `limit` authorizations that hold funds of these accounts past their time, by the ledger's clock."""
        query = select(hold).where(
            hold.c.guarded_account_id == any_of(sorted(account_ids)),
            hold.c.state == "authorized",
            hold.c.expires_at <= func.clock_timestamp(),
        )
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(hold.c.expires_at).limit(limit))
            return [authorization_from_row(row) for row in rows]

    def _one(self, condition: ColumnElement[bool]) -> Authorization | None:
        with translated(), self._engine.connect() as connection:
            row = connection.execute(select(hold).where(condition)).first()
        return None if row is None else authorization_from_row(row)


_TRANSACTIONS = select(
    *(column for column in ledger_transaction.c if column.name not in ("previous_hash", "hash")),
)


LATEST = 2**63 - 1
"""A chain_seq after every other."""

_RETURNED = text("""
SELECT wanted.account_id, latest.returned_minor
FROM unnest(CAST(:account_ids AS text[])) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT returned_minor FROM payment_return
    WHERE payment_id = :payment_id AND account_id = wanted.account_id AND chain_seq <= :up_to
    ORDER BY chain_seq DESC LIMIT 1
) AS latest
""")


def returned(
    connection: Connection, payment_id: str, account_ids: Sequence[str], up_to: int = LATEST
) -> dict[str, int]:
    """What these destinations of a payment have given back, in minor units; those that gave nothing are left out.

    `up_to` is a chain_seq in the chain of journals: what later transactions took back does not count.
    """
    parameters = {"payment_id": payment_id, "account_ids": list(account_ids), "up_to": up_to}
    return {row.account_id: row.returned_minor for row in connection.execute(_RETURNED, parameters)}


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

    def related(self, transaction_id: str, kind: str, *, limit: int, after: int = 0) -> list[LedgerTransaction]:
        """Up to `limit` transactions of a kind that relate to another one, oldest first, those after a chain_seq."""
        relates = and_(ledger_transaction.c.relates_to == transaction_id, ledger_transaction.c.kind == kind)
        return self._all(and_(relates, ledger_transaction.c.chain_seq > after), limit)

    def latest(self, partition: int, kinds: Collection[str], *, limit: int, before: int) -> list[LedgerTransaction]:
        """Up to `limit` transactions of these kinds in a chain, the newest first, those before a chain_seq."""
        wanted = and_(
            ledger_transaction.c.partition == partition,
            ledger_transaction.c.chain_seq < before,
            ledger_transaction.c.kind == any_of(sorted(kinds)),
        )
        return self._all(wanted, limit, ledger_transaction.c.chain_seq.desc())

    def reversals_of(self, journal_ids: Sequence[str]) -> dict[str, str]:
        """The reversals of these journals, by journal."""
        columns = (ledger_transaction.c.relates_to, ledger_transaction.c.payment_id)
        query = select(*columns).where(
            ledger_transaction.c.relates_to == any_of(journal_ids), ledger_transaction.c.kind == Kind.REVERSAL.value
        )
        with translated(), self._engine.connect() as connection:
            return {row.relates_to: row.payment_id for row in connection.execute(query)}

    def returned(self, payment_id: str, account_ids: Sequence[str], up_to: int = LATEST) -> dict[str, int]:
        """What these destinations of a payment have given back, in minor units; `up_to` a chain_seq of journals."""
        with translated(), self._engine.connect() as connection:
            return returned(connection, payment_id, account_ids, up_to)

    def returns_of(self, transaction: LedgerTransaction) -> list[PaymentReturn]:
        """What a transaction took back of a payment, with the sums as they were after it."""
        columns = (
            payment_return.c.payment_id,
            payment_return.c.account_id,
            payment_return.c.amount_minor,
            payment_return.c.returned_minor,
        )
        query = select(*columns).where(
            payment_return.c.partition == transaction.partition, payment_return.c.chain_seq == transaction.chain_seq
        )
        with translated(), self._engine.connect() as connection:
            return [PaymentReturn(*row) for row in connection.execute(query.order_by(payment_return.c.account_id))]

    def _first(self, condition: ColumnElement[bool]) -> LedgerTransaction | None:
        return next(iter(self._all(condition, 1)), None)

    def _all(
        self,
        condition: ColumnElement[bool],
        limit: int,
        order: ColumnElement[Any] = ledger_transaction.c.chain_seq,
    ) -> list[LedgerTransaction]:
        query = _TRANSACTIONS.where(condition).order_by(order).limit(limit)
        with translated(), self._engine.connect() as connection:
            found = [LedgerTransaction(*[*row, []]) for row in connection.execute(query)]
            _add_entries(connection, found)
        return found


def _add_entries(connection: Connection, transactions: Sequence[LedgerTransaction]) -> None:
    """Give transactions their entries, in one query."""
    by_place = {(one.partition, one.chain_seq): one for one in transactions}
    place = tuple_(entry.c.partition, entry.c.chain_seq)
    query = select(
        entry.c.partition,
        entry.c.chain_seq,
        entry.c.account_id,
        entry.c.entry_number,
        entry.c.amount_minor,
        entry.c.balance_minor,
        entry.c.currency_code,
    ).where(place.in_(list(by_place)))
    for partition, chain_seq, *fields in connection.execute(query.order_by(place, entry.c.leg)):
        by_place[partition, chain_seq].entries.append(Entry(*fields))
