"""A local server that answers as Stripe's API does, with recorded objects."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "rk_test_recorded"
DAY = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())


def transaction(
    id: str, amount: int, fee: int = 0, *, kind: str = "charge", day: int = 0, **more: Any
) -> dict[str, Any]:
    """A balance transaction as the API answers it."""
    return {
        "id": f"txn_{id}",
        "object": "balance_transaction",
        "amount": amount,
        "available_on": DAY + (day + 5) * 86_400,
        "created": DAY + day * 86_400,
        "currency": "eur",
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": f"{'po' if kind == 'payout' else 'ch'}_{id}",
        "status": "available",
        "type": kind,
    }


class Recorded:
    """What Stripe has, newest first, and what was asked of it."""

    def __init__(self) -> None:
        self.transactions = [transaction(str(n), 1_000 + n, 30, day=n // 100) for n in range(250)]
        self.members = {"po_p1": ["txn_p1", "txn_0", "txn_1"]}
        paid = sum(1_000 + n - 30 for n in range(2))
        self.transactions.append(transaction("p1", -paid, kind="payout", day=6))
        self.asked: list[dict[str, str]] = []

    def answer(self, query: dict[str, str]) -> dict[str, Any]:
        self.asked.append(query)
        found = list(reversed(self.transactions))
        if "payout" in query:
            found = [one for one in found if one["id"] in self.members[query["payout"]]]
        if "type" in query:
            found = [one for one in found if one["type"] == query["type"]]
        found = [one for one in found if one["created"] >= int(query.get("created[gte]", 0))]
        if "starting_after" in query:
            places = [one["id"] for one in found]
            found = found[places.index(query["starting_after"]) + 1 :]
        limit = int(query.get("limit", 10))
        more = len(found) > limit
        return {"object": "list", "url": "/v1/balance_transactions", "has_more": more, "data": found[:limit]}


Served = tuple[str, Recorded]
"""The address of a server, and what it has."""


@contextmanager
def served() -> Iterator[Served]:
    """A server at work, for the key KEY only."""
    recorded = Recorded()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            is_known = self.headers["Authorization"] == f"Bearer {KEY}" and parts.path == "/v1/balance_transactions"
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            denied = {"error": {"type": "invalid_request_error", "message": "This key may not read this."}}
            body = json.dumps(recorded.answer(query) if is_known else denied).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", recorded
    server.shutdown()
    server.server_close()
