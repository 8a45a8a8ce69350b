"""A world that sends batches and streams."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from werkzeug.test import TestResponse

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS
from tests import hot_state
from tests.api.world import BANK, World
from tests.builders import account_in

PATH = "/v1/payments/batch"
NDJSON = "application/x-ndjson"


class BatchWorld(World):
    """What a test of batches does besides."""

    def batch(self, payments: Sequence[Any], query: str = "", **more: Any) -> list[dict[str, Any]]:
        """Send a batch that must be answered; its items."""
        response = self.post(PATH + query, {"payments": payments, **more})
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.get_json()["data"]
        assert len(items) == len(payments)
        return items

    def stream(self, lines: Iterable[Any], *, query: str = "", headers: Any = None) -> TestResponse:
        """Send lines; what is not bytes goes as JSON."""
        text = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        return self.application.test_client().post(
            PATH + query, data=text, content_type=NDJSON, headers=sent, buffered=True
        )

    def streamed(self, lines: Iterable[Any]) -> list[dict[str, Any]]:
        """The answers to a stream, each checked against the served document."""
        response = self.stream(lines)
        assert (response.status_code, response.content_type) == (200, NDJSON), response.text
        answers = [json.loads(line) for line in response.data.splitlines()]
        for answer in answers:
            self.validate(answer, {"$ref": "#/components/schemas/BatchLine"})
        return answers

    def neighbours(self, count: int, balance_minor: int = 0) -> list[str]:
        """Wallets in one partition."""
        ids = [account_in(3, f"n{n}", DEFAULT_PARTITIONS) for n in range(count)]
        for account_id in ids:
            self.funded(account_id, balance_minor) if balance_minor else self.account(account_id)
        return ids

    def traces(self) -> dict[str, Any]:
        """What decisions leave in the cache: intents, holds, records, claims, counts, and what accounts have held.

        Bringing an account into the cache is no trace: it changes nothing that the ledger does not say.
        """
        content: dict[str, Any] = {}
        for key in sorted(self.cache.scan_iter("hf:*")):
            kind, verb = self.cache.type(key), key.split(":")[2]
            if verb == keys.ACCOUNT:
                held = hot_state.parts(self.cache, key).get("held", "0")
                content[key] = (held, hot_state.holds(self.cache, key))
            elif verb in ("outbox", keys.RECORD, keys.CLAIM, "tally"):
                read = {"string": self.cache.get, "hash": self.cache.hgetall, "stream": self.cache.xrange}[kind]
                content[key] = read(key)
            if verb == "tally":  # what opening the partition left there is no decision
                content[key] = {code: count for code, count in content[key].items() if code.isupper()}
        return {key: value for key, value in content.items() if value not in (("0", {}), [], {})}

    def assert_proven(self) -> None:
        """With nothing left to post, every proof holds, and every account's funds are what the ledger says."""
        super().assert_proven()
        self.assert_balances_shown()


__all__ = ["BANK", "NDJSON", "PATH", "BatchWorld"]
