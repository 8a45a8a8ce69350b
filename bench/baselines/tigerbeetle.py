"""(h) TigerBeetle through its Python client, one transfer a request, as a Flask application would call it.

Account 0 of the workload is TigerBeetle's account 1, and so on: ids are 128-bit numbers above zero.
"""

import os
from hashlib import blake2b

import tigerbeetle as tb
from flask import Response

from bench.baselines import common

LEDGER = 1
CODE = 1

client = tb.ClientSync(cluster_id=0, replica_addresses=os.environ["BENCH_TIGERBEETLE_ADDRESS"])


def number_of(account_id: str) -> int:
    """TigerBeetle's id of a wallet."""
    return int(account_id.rpartition(":")[2]) + 1


def submit() -> Response:
    """One payment; its id is derived from the external_id, so a replay is found out by TigerBeetle itself."""
    payment = common.parsed()
    transfer_id = int.from_bytes(blake2b(payment.external_id.encode(), digest_size=15).digest(), "big") + 1
    transfer = tb.Transfer(
        id=transfer_id,
        debit_account_id=number_of(payment.source_account_id),
        credit_account_id=number_of(payment.destination_account_id),
        amount=payment.amount_minor,
        ledger=LEDGER,
        code=CODE,
    )
    outcome = outcome_of(client.create_transfers([transfer]))
    if outcome not in ("created", "exists"):
        raise common.Refused(422, outcome)
    return common.answer(payment, transfer_id, 201 if outcome == "created" else 200)


def outcome_of(results: list) -> str:
    """Clients from 0.17 on answer each transfer with a status; older ones only those that failed, with a result."""
    if not results:
        return "created"
    status = getattr(results[0], "status", None) or results[0].result
    return "created" if status.name == "OK" else str(status.name).lower()
