"""(a) The row lock: lock both accounts in order, check, update, insert, commit."""

from typing import Any

from flask import Response
from psycopg import Connection
from psycopg.errors import UniqueViolation

from bench.baselines import common

SCHEMA = "for_update"
pool = common.pool(SCHEMA)


def submit() -> Response:
    """One payment."""
    payment = common.parsed()
    with pool.connection() as connection:
        try:
            return common.answer(payment, pay(connection, payment))
        except UniqueViolation:
            connection.rollback()
            return common.answer(payment, common.known(connection, payment), 200)


def pay(connection: Connection[Any], payment: common.Payment) -> int:
    """The transaction; the pool commits it."""
    rows = connection.execute(
        "SELECT account_id, balance_minor FROM account WHERE account_id IN (%s, %s) ORDER BY account_id FOR UPDATE",
        (payment.source_account_id, payment.destination_account_id),
    )
    common.require_funds(dict(rows.fetchall()), payment)
    connection.execute(
        """UPDATE account SET balance_minor = balance_minor + CASE account_id WHEN %s THEN -%s ELSE %s END
        WHERE account_id IN (%s, %s)""",
        (
            payment.source_account_id,
            payment.amount_minor,
            payment.amount_minor,
            payment.source_account_id,
            payment.destination_account_id,
        ),
    )
    return common.insert(connection, payment)
