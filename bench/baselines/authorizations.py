"""(a) with authorizations: the row lock, a held amount beside the balance, and a second request that captures it."""

from typing import Any, Literal

import msgspec
from flask import Response
from psycopg import Connection
from psycopg.errors import UniqueViolation

from bench.baselines import common
from bench.baselines.for_update import pool

RECORD = """
INSERT INTO hold (external_id, source_account_id, destination_account_id, amount_minor, currency_code)
VALUES (%s, %s, %s, %s, %s) RETURNING hold_id
"""
CAPTURED = """
UPDATE account SET balance_minor = balance_minor + CASE account_id WHEN %(source)s THEN -%(amount)s ELSE %(amount)s END,
    held_minor = held_minor - CASE account_id WHEN %(source)s THEN %(amount)s ELSE 0 END
WHERE account_id IN (%(source)s, %(destination)s)
"""


class Authorization(common.Payment, forbid_unknown_fields=True):
    """A payment that is captured later."""

    capture: Literal["manual"]


_decode = msgspec.json.Decoder(Authorization).decode


def authorize() -> Response:
    """Hold the amount."""
    wanted = _decode(common.body())
    with pool.connection() as connection:
        try:
            return common.answer(wanted, hold(connection, wanted), state="authorized")
        except UniqueViolation:
            connection.rollback()
            row = connection.execute("SELECT hold_id FROM hold WHERE external_id = %s", (wanted.external_id,))
            [hold_id] = row.fetchone() or (None,)
            return common.answer(wanted, hold_id, 200, state="authorized")


def hold(connection: Connection[Any], wanted: Authorization) -> int:
    """The transaction; the pool commits it. The destination must be there, as for a payment."""
    rows = connection.execute(
        """SELECT account_id, balance_minor - held_minor FROM account WHERE account_id IN (%s, %s)
        ORDER BY account_id FOR UPDATE""",
        (wanted.source_account_id, wanted.destination_account_id),
    )
    common.require_funds(dict(rows.fetchall()), wanted)
    connection.execute(
        "UPDATE account SET held_minor = held_minor + %s WHERE account_id = %s",
        (wanted.amount_minor, wanted.source_account_id),
    )
    row = connection.execute(RECORD, msgspec.structs.astuple(wanted)[:5]).fetchone()
    assert row is not None
    return int(row[0])


def capture(hold_id: int) -> Response:
    """Take all that is held."""
    with pool.connection() as connection:
        row = connection.execute(
            """SELECT external_id, source_account_id, destination_account_id, amount_minor, currency_code, captured
            FROM hold WHERE hold_id = %s FOR UPDATE""",
            (hold_id,),
        ).fetchone()
        if row is None:
            raise common.Refused(404, "hold_not_found")
        *content, captured = row
        payment = common.Payment(*content)
        if captured:
            return common.answer(payment, common.known(connection, payment), 200)
        accounts = sorted((payment.source_account_id, payment.destination_account_id))
        connection.execute(
            "SELECT 1 FROM account WHERE account_id IN (%s, %s) ORDER BY account_id FOR UPDATE", accounts
        )
        connection.execute(
            CAPTURED,
            {
                "source": payment.source_account_id,
                "destination": payment.destination_account_id,
                "amount": payment.amount_minor,
            },
        )
        connection.execute("UPDATE hold SET captured = true WHERE hold_id = %s", (hold_id,))
        return common.answer(payment, common.insert(connection, payment))
