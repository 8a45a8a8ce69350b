"""(c) The version column: read, compute, update where the version is still the same, try again if it is not."""

from typing import Any

from flask import Response
from psycopg import Connection
from psycopg.errors import UniqueViolation

from bench.baselines import common
from bench.baselines.retry import Conflict, retried

SCHEMA = "optimistic"
pool = common.pool(SCHEMA)


def submit() -> Response:
    """One payment."""
    payment = common.parsed()
    with pool.connection() as connection:
        try:
            return common.answer(payment, retried(lambda: pay(connection, payment)))
        except UniqueViolation:
            connection.rollback()
            return common.answer(payment, common.known(connection, payment), 200)


def pay(connection: Connection[Any], payment: common.Payment) -> int:
    """The transaction; in account order, so that two never wait for each other."""
    with connection.transaction():
        rows = connection.execute(
            "SELECT account_id, balance_minor, version FROM account WHERE account_id IN (%s, %s)",
            (payment.source_account_id, payment.destination_account_id),
        ).fetchall()
        read = {account_id: (balance, version) for account_id, balance, version in rows}
        common.require_funds({account_id: balance for account_id, (balance, _) in read.items()}, payment)
        for account_id, change in sorted(
            ((payment.source_account_id, -payment.amount_minor), (payment.destination_account_id, payment.amount_minor))
        ):
            balance, version = read[account_id]
            updated = connection.execute(
                "UPDATE account SET balance_minor = %s, version = version + 1 WHERE account_id = %s AND version = %s",
                (balance + change, account_id, version),
            )
            if updated.rowcount == 0:
                raise Conflict
        return common.insert(connection, payment)
