"""A world with two entities, which have the same things under the same external ids, and a key each."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from werkzeug.test import TestResponse

from app.domain.audit_reads import AuditPlace
from app.services.access.api_keys import Scope
from tests.api.world import World, payment
from tests.journals.world import credit, debit, journal

NORTH, SOUTH = "north", "south"


@dataclass
class Things:
    """What one entity has. Its key may do everything, but only for it."""

    entity_id: str
    key: str
    accounts: dict[str, str] = field(default_factory=dict)
    payments: dict[str, str] = field(default_factory=dict)
    journals: dict[str, str] = field(default_factory=dict)
    refund: str = ""
    proposal: str = ""
    endpoint_id: str = ""
    monitor_id: str = ""
    records: list[str] = field(default_factory=list)
    """Ids of records of the audit: of its key's calls, and of what belongs to it."""

    @property
    def key_id(self) -> str:
        return self.key.split("_")[1]


@dataclass
class TwoEntities(World):
    """Two entities; furnished alike."""

    @cached_property
    def north(self) -> Things:
        return Things(NORTH, self.key_with(Scope.ADMIN, entities=[NORTH]))

    @cached_property
    def south(self) -> Things:
        return Things(SOUTH, self.key_with(Scope.ADMIN, entities=[SOUTH]))

    def furnish(self) -> None:
        """Give both of them accounts, payments in every state, a refund, a journal and its reversal."""
        for things in (self.north, self.south):
            self._open_accounts(things)
        for things in (self.north, self.south):
            self._move(things)
        for things in (self.north, self.south):
            self._have_told(things)
        for things in (self.north, self.south):
            things.records = self.recorded(things)

    def _open_accounts(self, things: Things) -> None:
        for name, type in (("bank", "asset"), ("wallet", "liability"), ("shop", "liability")):
            body = {"account_id": f"{things.entity_id}:{name}", "type": type, "currency_code": "EUR"}
            made = self.made(self.post("/v1/accounts", body, key=things.key))
            assert made["entity_id"] == things.entity_id
            things.accounts[name] = made["account_id"]
        self.paid(things, "bank", "wallet", 10_000, "funding")
        self.drained()

    def _move(self, things: Things) -> None:
        payments, accounts = things.payments, things.accounts
        payments["posted"] = self.paid(things, "wallet", "shop", 100, "shared")
        payments["captured"] = self.paid(things, "wallet", "shop", 50, "to capture", capture="manual")
        payments["authorized"] = self.paid(things, "wallet", "shop", 60, "to keep", capture="manual")
        self.drained()
        assert self.post(f"/v1/payments/{payments['captured']}/capture", key=things.key).status_code == 200
        self.drained()
        path = f"/v1/payments/{payments['posted']}/refunds"
        things.refund = self.made(self.post(path, {"external_id": "refund", "amount_minor": 1}, key=things.key))[
            "refund_id"
        ]
        body = journal(debit(accounts["wallet"], 5), credit(accounts["shop"], 5), external_id="a journal")
        posted = self.made(self.post("/v1/journals", body, key=things.key))["journal_id"]
        reversal = {"external_id": "a reversal", "reason": "x"}
        undone = self.made(self.post(f"/v1/journals/{posted}/reversal", reversal, key=things.key))["journal_id"]
        things.journals |= {"journal": posted, "reversal": undone}
        body = journal(debit(accounts["wallet"], 3), credit(accounts["shop"], 3), external_id="a proposal")
        things.proposal = self.made(self.post("/v1/journal-proposals", body, key=things.key))["proposal_id"]
        payments["pending"] = self.paid(things, "wallet", "shop", 70, "to come")

    def _have_told(self, things: Things) -> None:
        endpoint = {"url": f"https://{things.entity_id}.example/hook"}
        things.endpoint_id = self.made(self.post("/v1/webhooks", endpoint, key=things.key))["endpoint_id"]
        condition = {"measure": "available", "comparison": "below", "threshold_minor": 1}
        monitor = {"account_id": things.accounts["wallet"], **condition}
        things.monitor_id = self.made(self.post("/v1/monitors", monitor, key=things.key))["monitor_id"]

    def paid(
        self, things: Things, source: str, destination: str, amount_minor: int, external_id: str, **more: Any
    ) -> str:
        """Make a payment within an entity; its id."""
        ids = things.accounts[source], things.accounts[destination]
        body = payment(*ids, amount_minor, external_id=external_id, **more)
        return str(self.made(self.post("/v1/payments", body, key=things.key))["payment_id"])

    def recorded(self, things: Things) -> list[str]:
        """The ids of the records of the audit that an entity may see, in their order."""
        self.services.recorder.flush()
        query = (
            "SELECT called_at, number FROM audit_call WHERE entity_id = %s OR key_id = %s ORDER BY called_at, number"
        )
        return [AuditPlace(*row).audit_id for row in self.sql(query, things.entity_id, things.key_id)]

    @staticmethod
    def made(response: TestResponse) -> dict[str, Any]:
        """What was made now."""
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.get_json()
        return body

    def belongings(self, things: Things) -> dict[str, Any]:
        """Everything that an entity has, in the ledger and in the cache, as it stands."""
        rows = {
            "accounts": "SELECT * FROM account WHERE entity_id = %s ORDER BY account_id",
            "balances": "SELECT * FROM account_balance WHERE entity_id = %s ORDER BY account_id",
            "transactions": "SELECT * FROM ledger_transaction WHERE entity_id = %s ORDER BY payment_id",
            "authorizations": "SELECT * FROM hold WHERE entity_id = %s ORDER BY payment_id",
            "proposals": """SELECT * FROM journal_proposal LEFT JOIN journal_decision USING (proposal_id)
                WHERE entity_id = %s ORDER BY proposal_id""",
            "endpoints": "SELECT * FROM webhook_endpoint WHERE %s = ANY (entities) ORDER BY endpoint_id",
            "keys": "SELECT * FROM api_key WHERE %s = ANY (entities) ORDER BY key_id",
        }
        found: dict[str, Any] = {name: self.sql(query, things.entity_id) for name, query in rows.items()}
        monitors = "SELECT * FROM balance_monitor WHERE account_id LIKE %s ORDER BY monitor_id"
        found["monitors"] = self.sql(monitors, f"{things.entity_id}:%")
        found["secrets"] = self.sql("SELECT * FROM webhook_secret WHERE endpoint_id = %s", things.endpoint_id)
        found["events"] = self.sql(
            "SELECT * FROM audit_event WHERE subject LIKE %s OR subject = %s ORDER BY audit_event_id",
            f"{things.entity_id}:%",
            things.key_id,
        )
        hashes = list(self.cache.scan_iter(f"hf:*:a:{things.entity_id}:*"))
        found["cache"] = {name: self.cache.hgetall(name) for name in sorted(hashes)}
        return found
