"""Fetching balance transactions from Stripe's API, by its official library and a restricted key that may only read.

They are written as one JSON object a line, which `app/statements/stripe_objects.py` reads: all that were created since
a moment, and those of each payout since then, with the payout's id. A transaction is written once.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

from app.domain.statement import UnreadableStatement

PAGE = 100
"""The most that Stripe gives at once."""

RETRIES = 3
TIMEOUT_S = 30


def fetch_stripe(file: IO[bytes], api_key: str, since: datetime | None, address: str = "") -> int:
    """Write what is new since a moment, or everything, and return how many; raises UnreadableStatement."""
    import stripe

    addresses: Any = {"api": address} if address else None
    http_client = stripe.RequestsClient(timeout=TIMEOUT_S)
    client = stripe.StripeClient(
        api_key, base_addresses=addresses, max_network_retries=RETRIES, http_client=http_client
    )
    try:
        return _write(file, client, since)
    except stripe.StripeError as error:
        cause = error.user_message or str(error) or type(error).__name__
        raise UnreadableStatement(0, f"Stripe does not answer as it should: {cause}") from None


def _write(file: IO[bytes], client: Any, since: datetime | None) -> int:
    created = {} if since is None else {"created": {"gte": int(since.timestamp())}}
    written: set[str] = set()
    for payout in _all(client, {"type": "payout", **created}):
        payout_id = payout["source"] if isinstance(payout["source"], str) else payout["source"]["id"]
        for one in _all(client, {"payout": payout_id}):
            _line(file, {**one, "payout": payout_id}, written)
    for one in _all(client, created):
        _line(file, one, written)
    return len(written)


def _all(client: Any, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every balance transaction that is asked for, page by page."""
    page = client.v1.balance_transactions.list({"limit": PAGE, **asked})
    for one in page.auto_paging_iter():
        yield one.to_dict()


def _line(file: IO[bytes], one: dict[str, Any], written: set[str]) -> None:
    if one["id"] not in written:
        written.add(one["id"])
        file.write(json.dumps(one, default=str).encode() + b"\n")
