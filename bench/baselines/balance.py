"""Reading a balance from Postgres by its primary key, beside (a)."""

from flask import Response

from bench.baselines import for_update
from bench.baselines.common import Refused


def read(account_id: str) -> Response:
    """One balance."""
    with for_update.pool.connection() as connection:
        row = connection.execute(
            "SELECT balance_minor, currency_code FROM account WHERE account_id = %s", (account_id,)
        ).fetchone()
    if row is None:
        raise Refused(404, "account_not_found")
    body = f'{{"account_id":"{account_id}","balance_minor":{row[0]},"currency_code":"{row[1]}"}}'
    return Response(body, content_type="application/json")
