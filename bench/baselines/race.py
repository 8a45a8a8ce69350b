"""(d) The race: read the balances, compute in the program, write them back. It loses money, which is what it shows."""

from typing import Any

from flask import Response
from psycopg import Connection
from psycopg.errors import UniqueViolation

from bench.baselines import common

SCHEMA = "race"
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
    """The transaction; READ COMMITTED lets another one write between the read and the write."""
    rows = connection.execute(
        "SELECT account_id, balance_minor FROM account WHERE account_id IN (%s, %s)",
        (payment.source_account_id, payment.destination_account_id),
    )
    balances = dict(rows.fetchall())
    common.require_funds(balances, payment)
    for account_id, change in sorted(
        ((payment.source_account_id, -payment.amount_minor), (payment.destination_account_id, payment.amount_minor))
    ):
        connection.execute(
            "UPDATE account SET balance_minor = %s WHERE account_id = %s", (balances[account_id] + change, account_id)
        )
    return common.insert(connection, payment)
