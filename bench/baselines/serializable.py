"""(b) SERIALIZABLE: no explicit lock; Postgres aborts what does not fit, and the program tries again."""

from typing import Any

from flask import Response
from psycopg import Connection, IsolationLevel
from psycopg.errors import DeadlockDetected, SerializationFailure, UniqueViolation

from bench.baselines import common
from bench.baselines.retry import Conflict, retried

SCHEMA = "serializable"
pool = common.pool(SCHEMA)


def submit() -> Response:
    """One payment."""
    payment = common.parsed()
    with pool.connection() as connection:
        if connection.isolation_level is not IsolationLevel.SERIALIZABLE:
            connection.isolation_level = IsolationLevel.SERIALIZABLE
        try:
            return common.answer(payment, retried(lambda: pay(connection, payment)))
        except UniqueViolation:
            connection.rollback()
            return common.answer(payment, common.known(connection, payment), 200)


def pay(connection: Connection[Any], payment: common.Payment) -> int:
    """The transaction."""
    try:
        with connection.transaction():
            rows = connection.execute(
                "SELECT account_id, balance_minor FROM account WHERE account_id IN (%s, %s)",
                (payment.source_account_id, payment.destination_account_id),
            )
            balances = dict(rows.fetchall())
            common.require_funds(balances, payment)
            for account_id, change in sorted(
                (
                    (payment.source_account_id, -payment.amount_minor),
                    (payment.destination_account_id, payment.amount_minor),
                )
            ):
                connection.execute(
                    "UPDATE account SET balance_minor = %s WHERE account_id = %s",
                    (balances[account_id] + change, account_id),
                )
            return common.insert(connection, payment)
    except (SerializationFailure, DeadlockDetected) as error:
        raise Conflict from error
