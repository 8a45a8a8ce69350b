"""A world that posts journals and refunds, and proves cache and ledger after each test."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from werkzeug.test import TestResponse

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS
from tests import hot_state
from tests.api.world import BANK, World
from tests.builders import account_in

JOURNALS = "/v1/journals"
DRY = f"{JOURNALS}?dry_run=true"


def debit(account_id: str, amount_minor: Any) -> dict[str, Any]:
    """A debit entry."""
    return {"account_id": account_id, "direction": "debit", "amount_minor": amount_minor}


def credit(account_id: str, amount_minor: Any) -> dict[str, Any]:
    """A credit entry."""
    return {"account_id": account_id, "direction": "credit", "amount_minor": amount_minor}


def journal(*entries: dict[str, Any], external_id: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a journal; without an id it gets a new one."""
    return {"external_id": external_id or uuid4().hex, "entries": entries, "reason": "a correction", **more}


class JournalWorld(World):
    """What a test of journals does besides."""

    def posted(self, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Post a journal that must be accepted."""
        response = self.post(JOURNALS, journal(*entries, **more))
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.get_json()
        return body

    def refund(self, payment_id: str, amount_minor: Any = None, external_id: str | None = None) -> TestResponse:
        """Ask for a refund."""
        body: dict[str, Any] = {"external_id": external_id or uuid4().hex}
        if amount_minor is not None:
            body["amount_minor"] = amount_minor
        return self.post(f"/v1/payments/{payment_id}/refunds", body)

    def paid(self, source: str, destination: str | None, amount_minor: int, **more: Any) -> str:
        """Make a payment that is posted; its id."""
        response = self.pay(source, destination, amount_minor, **more)  # type: ignore[arg-type]
        assert response.status_code == 201, response.text
        self.drained()
        payment_id: str = response.get_json()["payment_id"]
        return payment_id

    def wallets(self, count: int, balance_minor: int = 0) -> list[str]:
        """Wallets, each in another partition."""
        ids = [account_in(n, f"w{n}", DEFAULT_PARTITIONS) for n in range(count)]
        for account_id in ids:
            self.funded(account_id, balance_minor) if balance_minor else self.account(account_id)
        return ids

    def clearing(self) -> str:
        """An asset without a floor: takes debits and credits of any size."""
        return self.account(BANK, "asset")

    def holds(self) -> dict[str, dict[str, str]]:
        """Every hold in the cache."""
        found = {key: hot_state.holds(self.cache, key) for key in self.cache.scan_iter(keys.pattern(keys.ACCOUNT))}
        return {key: holds for key, holds in found.items() if holds}

    def intents(self) -> int:
        """How many intents wait in all outboxes."""
        return sum(self.drain.cache.outbox.backlog().values())

    def traces(self) -> dict[str, Any]:
        """What an operation could leave, in the cache and in the ledger."""
        kinds = ("outbox", keys.RECORD, keys.CLAIM, "tally")
        found = [key for key in self.cache.scan_iter("hf:*") if key.split(":")[2] in kinds]
        read: dict[str, Callable[[str], Any]] = {
            "string": self.cache.get,
            "hash": self.cache.hgetall,
            "stream": self.cache.xrange,
        }
        content = {key: read[str(self.cache.type(key))](key) for key in sorted(found)}
        tables = ("ledger_transaction", "entry", "payment_rejection", "conflict_count")
        counts = {table: self.sql(f"SELECT count(*) FROM {table}") for table in tables}
        heads = self.sql("SELECT partition, chain_seq FROM partition ORDER BY partition")
        balances = self.sql("SELECT account_id, balance_minor, version FROM account_balance ORDER BY account_id")
        content |= self.holds()
        return {key: value for key, value in content.items() if value} | {"ledger": (counts, heads, balances)}

    def assert_proven(self) -> None:
        """Cache and ledger agree in every way that the proofs know, with nothing left in flight."""
        assert self.intents() == 0
        assert self.holds() == {}
        super().assert_proven()
        self.assert_balances_shown()


def at_once(calls: Sequence[Callable[[], TestResponse]]) -> list[TestResponse]:
    """Make calls in parallel; their answers in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


__all__ = ["BANK", "DRY", "JOURNALS", "JournalWorld", "at_once", "credit", "debit", "journal"]
