"""What the Postgres baselines share: the request, the pool, the rows of a payment, the answer."""

import os
from typing import Any

import msgspec
from flask import Response, request
from psycopg import Connection
from psycopg_pool import ConnectionPool

POOL_SIZE = int(os.environ.get("BENCH_POOL_SIZE", "8"))
"""Connections a process and a baseline. Measured on two cores: 8 and 16 are alike, 4 is a seventh slower."""

IDLE_SECONDS = 3.0
"""An idle connection is given back soon: all baselines together may not use up what Postgres allows."""


class Payment(msgspec.Struct, forbid_unknown_fields=True):
    """A payment as asked for."""

    external_id: str
    source_account_id: str
    destination_account_id: str
    amount_minor: int
    currency_code: str


class Answer(msgspec.Struct):
    """What a client is told; the ledger has it, so it is posted, or authorized."""

    payment_id: str
    external_id: str
    status: str
    amount_minor: int
    currency_code: str


class Refused(Exception):
    """The payment cannot be made."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


_decode = msgspec.json.Decoder(Payment).decode
_encode = msgspec.json.Encoder().encode


def body() -> bytes:
    """The request's body."""
    return request.get_data(cache=False)


def parsed() -> Payment:
    """The request's payment."""
    return _decode(body())


def answer(payment: Payment, payment_id: object, status: int = 201, state: str = "posted") -> Response:
    """201, or 200 for a replay."""
    body = Answer(str(payment_id), payment.external_id, state, payment.amount_minor, payment.currency_code)
    return Response(_encode(body), status, content_type="application/json")


def refusal(refused: Refused) -> Response:
    """A problem."""
    body = _encode({"code": refused.code, "status": refused.status})
    return Response(body, refused.status, content_type="application/problem+json")


def pool(schema: str) -> ConnectionPool[Connection[Any]]:
    """Connections that work in a baseline's own schema."""
    options = {"options": f"-c search_path={schema}", "application_name": f"bench {schema}"}
    url = os.environ["BENCH_BASELINES_URL"]
    return ConnectionPool(url, kwargs=options, min_size=1, max_size=POOL_SIZE, max_idle=IDLE_SECONDS, open=True)


def require_funds(balances: dict[str, int], payment: Payment) -> None:
    """The check that every baseline makes in the program."""
    if payment.source_account_id not in balances or payment.destination_account_id not in balances:
        raise Refused(422, "account_not_found")
    if balances[payment.source_account_id] < payment.amount_minor:
        raise Refused(422, "insufficient_funds")


def insert(connection: Connection[Any], payment: Payment) -> int:
    """The payment and its two entries; raises UniqueViolation for an external_id that is there already."""
    row = connection.execute(
        """INSERT INTO payment (external_id, source_account_id, destination_account_id, amount_minor, currency_code)
        VALUES (%s, %s, %s, %s, %s) RETURNING payment_id""",
        (
            payment.external_id,
            payment.source_account_id,
            payment.destination_account_id,
            payment.amount_minor,
            payment.currency_code,
        ),
    ).fetchone()
    assert row is not None
    connection.execute(
        "INSERT INTO entry (payment_id, account_id, amount_minor) VALUES (%s, %s, %s), (%s, %s, %s)",
        (
            row[0],
            payment.source_account_id,
            -payment.amount_minor,
            row[0],
            payment.destination_account_id,
            payment.amount_minor,
        ),
    )
    return int(row[0])


def known(connection: Connection[Any], payment: Payment) -> int:
    """The id of the payment that has this external_id."""
    row = connection.execute("SELECT payment_id FROM payment WHERE external_id = %s", (payment.external_id,)).fetchone()
    assert row is not None
    return int(row[0])
