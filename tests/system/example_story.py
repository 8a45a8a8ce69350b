"""The story that the examples of the OpenAPI document tell: a wallet, a shop, and everything that befalls them.

`python3 -m tests.system.example_story` tells it to a new installation and records the answers.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from app.api.application import all_routes
from app.api.examples import RECORDING
from tests.patience import until
from tests.system.harness import Client, System

EUR = {"currency_code": "EUR"}
SHOP = {"source_account_id": "wallet:ada", "destination_account_id": "merchant:shop", **EUR}


@dataclass(frozen=True)
class Step:
    """One call. `$name.member` in its values is what the answer to an earlier step says."""

    operation: str
    name: str
    summary: str
    status: int = 200
    body: Any = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def made(operation: str, name: str, summary: str, body: Any, status: int = 201, **more: Any) -> Step:
    """A step with a body."""
    return Step(operation, name, summary, status, body, **more)


HELD = {"payment_id": "$authorization.payment_id"}
JOURNAL_ENTRIES = [
    {"account_id": "merchant:shop", "direction": "debit", "amount_minor": 50},
    {"account_id": "fees", "direction": "credit", "amount_minor": 50},
]

INTEREST = [
    {"account_id": "fees", "direction": "debit", "amount_minor": 7},
    {"account_id": "wallet:ada", "direction": "credit", "amount_minor": 7},
]
PROPOSED = {"proposal_id": "$proposed.proposal_id"}
ENDPOINT = {"endpoint_id": "$endpoint.endpoint_id"}
MONITOR = {"monitor_id": "$low.monitor_id"}

STORY = [
    Step("alive", "alive", "The process answers"),
    # Accounts
    made(
        "create_account",
        "bank",
        "The bank's account, without a floor",
        {"account_id": "clearing:bank", "type": "asset", **EUR},
    ),
    made(
        "create_account",
        "wallet",
        "A wallet, which cannot fall below zero",
        {"account_id": "wallet:ada", "type": "liability", **EUR, "name": "Ada", "metadata": {"tier": "gold"}},
    ),
    made("create_account", "shop", "A shop", {"account_id": "merchant:shop", "type": "liability", **EUR}),
    made("create_account", "fees", "What the house earns", {"account_id": "fees", "type": "revenue", **EUR}),
    made(
        "create_account",
        "exists",
        "The same id with other content is refused",
        {"account_id": "fees", "type": "expense", **EUR},
        409,
    ),
    Step("get_account", "wallet", "A wallet", path={"account_id": "wallet:ada"}),
    Step("list_accounts", "euros", "Accounts in one currency", query={**EUR, "limit": "2"}),
    made(
        "change_account",
        "limit",
        "An overdraft of 10.00, in force for the next payment",
        {"overdraft_limit_minor": 1_000, "reason": "agreed with the customer"},
        200,
        path={"account_id": "wallet:ada"},
    ),
    Step("list_changes", "limit", "Who changed what, and why", path={"account_id": "wallet:ada"}),
    # Payments
    made(
        "submit_payment",
        "deposit",
        "A deposit, answered once it is in the ledger",
        {
            "external_id": "deposit-1",
            "source_account_id": "clearing:bank",
            "destination_account_id": "wallet:ada",
            "amount_minor": 5_000,
            **EUR,
        },
        headers={"Prefer": "wait=20"},
    ),
    made(
        "submit_payment",
        "purchase",
        "A payment, answered as soon as it is accepted",
        {"external_id": "order-1", **SHOP, "amount_minor": 1_250, "description": "Order 1"},
    ),
    made(
        "submit_payment",
        "replay",
        "The same again moves nothing",
        {"external_id": "order-1", **SHOP, "amount_minor": 1_250, "description": "Order 1"},
        200,
    ),
    made(
        "submit_payment",
        "reused",
        "The same id for another amount is refused",
        {"external_id": "order-1", **SHOP, "amount_minor": 1_300, "description": "Order 1"},
        422,
    ),
    made(
        "submit_payment",
        "declined",
        "What the wallet does not have",
        {"external_id": "order-2", **SHOP, "amount_minor": 99_000},
        422,
    ),
    made(
        "submit_payment",
        "unknown_account",
        "An account that is not there",
        {"external_id": "order-3", **SHOP, "source_account_id": "wallet:nobody", "amount_minor": 1},
        404,
    ),
    made(
        "submit_payment",
        "authorization",
        "Hold the money until it is captured",
        {"external_id": "order-4", **SHOP, "amount_minor": 2_000, "capture": "manual", "expires_in_s": 604_800},
    ),
    made("capture_payment", "part", "Take a part; the rest is released", {"amount_minor": 1_500}, 200, path=HELD),
    made("capture_payment", "again", "An authorization is captured once", {"amount_minor": 1_000}, 409, path=HELD),
    made(
        "submit_payment",
        "second_authorization",
        "Another authorization",
        {"external_id": "order-5", **SHOP, "amount_minor": 300, "capture": "manual"},
    ),
    Step("void_payment", "void", "Release it", path={"payment_id": "$second_authorization.payment_id"}),
    Step("get_payment", "captured", "An authorization that was captured in part", path=HELD),
    Step("find_payment", "order", "The payment of an order", query={"external_id": "order-1"}),
    made(
        "refund_payment",
        "part",
        "Give a part back",
        {"external_id": "return-1", "amount_minor": 400, "reason": "came back"},
        path=HELD,
    ),
    made(
        "refund_payment",
        "too_much",
        "No more than what remains",
        {"external_id": "return-2", "amount_minor": 1_200},
        422,
        path=HELD,
    ),
    Step("list_refunds", "refunds", "What was given back of a payment", path=HELD),
    made(
        "submit_batch",
        "batch",
        "Two payments; one is declined",
        {
            "payments": [
                {"external_id": "order-6", **SHOP, "amount_minor": 100},
                {"external_id": "order-7", **SHOP, "amount_minor": 99_000},
            ]
        },
        200,
    ),
    # What came of it
    Step("get_balance", "balance", "A balance", path={"account_id": "wallet:ada"}),
    Step("get_balance", "unknown", "An account that is not there", 404, path={"account_id": "wallet:nobody"}),
    Step(
        "list_entries",
        "entries",
        "The first entries of an account",
        path={"account_id": "wallet:ada"},
        query={"limit": "2"},
    ),
    made(
        "post_journal",
        "fee",
        "A fee",
        {"external_id": "fee-1", "entries": JOURNAL_ENTRIES, "reason": "monthly fee"},
    ),
    made(
        "post_journal",
        "unbalanced",
        "Debits and credits must be equal",
        {
            "external_id": "fee-2",
            "entries": [{**JOURNAL_ENTRIES[0], "amount_minor": 51}, JOURNAL_ENTRIES[1]],
            "reason": "fee",
        },
        422,
    ),
    made(
        "reverse_journal",
        "reversal",
        "The opposite, once",
        {"external_id": "fee-1-back", "reason": "charged by mistake"},
        path={"journal_id": "$fee.journal_id"},
    ),
    Step("get_journal", "reversed", "A journal that was reversed", path={"journal_id": "$fee.journal_id"}),
    made(
        "post_journal",
        "interest",
        "A journal for what the house owes",
        {"external_id": "interest-1", "entries": INTEREST, "reason": "interest"},
    ),
    made(
        "propose_reversal",
        "proposed_reversal",
        "A reversal that somebody else decides on",
        {"external_id": "interest-1-back", "reason": "paid twice"},
        path={"journal_id": "$interest.journal_id"},
    ),
    made(
        "propose_journal",
        "proposed",
        "A journal that somebody else decides on",
        {"external_id": "interest-2", "entries": INTEREST, "reason": "interest"},
    ),
    Step("list_proposals", "proposals", "What waits to be decided on", query={"limit": "1"}),
    Step("get_proposal", "proposal", "A proposal", path=PROPOSED),
    Step("withdraw_proposal", "withdrawn", "Take it back", path=PROPOSED),
    Step("trial_balance", "now", "Debits equal credits"),
    Step("balance_sheet", "now", "What is owned and owed"),
    Step("income_statement", "now", "What was earned and spent"),
    Step("list_breaks", "none", "No break is open"),
    Step("conflicts", "none", "No account made posting retry"),
    Step("payment_evidence", "evidence", "The evidence of a payment", path={"payment_id": "$deposit.payment_id"}),
    # Events
    Step("list_events", "paid", "The first payment that was posted", query={"types": "payment.posted", "limit": "1"}),
    made(
        "create_webhook",
        "endpoint",
        "An endpoint that is told of payments, in order",
        {"url": "https://shop.example/holdfast", "types": ["payment.posted", "payment.refunded"], "ordered": True},
    ),
    Step("list_webhooks", "endpoints", "The endpoints"),
    Step("get_webhook", "endpoint_read", "An endpoint, without its secret", path=ENDPOINT),
    Step(
        "rotate_webhook_secret", "rotated", "Another secret; both sign for a day", 201, {"overlap_hours": 24}, ENDPOINT
    ),
    Step("list_dead_letters", "none_dead", "What was given up", path=ENDPOINT),
    Step("delete_webhook", "deleted", "End an endpoint", path=ENDPOINT),
    made(
        "create_monitor",
        "low",
        "Tell when less than 10.00 is available",
        {"account_id": "merchant:shop", "measure": "available", "comparison": "below", "threshold_minor": 1_000},
    ),
    Step("list_monitors", "monitors", "The monitors of an account", query={"account_id": "merchant:shop"}),
    Step("get_monitor", "monitor", "A monitor", path=MONITOR),
    Step("end_monitor", "ended", "End a monitor", path=MONITOR),
    # Assets, keys, sources
    made(
        "register_asset",
        "points",
        "Points of your own",
        {"currency_code": "POINTS", "minor_units": 0, "name": "Points"},
    ),
    Step("get_asset", "euro", "A currency of ISO 4217", path=EUR),
    Step("list_assets", "assets", "What was registered"),
    made(
        "create_key",
        "checkout",
        "A key for a checkout, of one entity and with a rate limit",
        {
            "name": "checkout",
            "scopes": ["payments:read", "payments:write"],
            "entities": ["default"],
            "rate_limit": {"requests_per_second": 100, "burst": 200},
        },
    ),
    Step("get_key", "checkout", "A key, without its secret", path={"key_id": "$checkout.key_id"}),
    Step("list_keys", "keys", "The keys there are, without their secrets", query={"limit": "1"}),
    made(
        "rotate_key",
        "successor",
        "Its successor; both are valid for a day",
        {"overlap_hours": 24},
        path={"key_id": "$checkout.key_id"},
    ),
    Step("revoke_key", "revoked", "End a key", path={"key_id": "$checkout.key_id"}),
    made(
        "save_statement_source",
        "bank",
        "A bank whose statements are MT940",
        {"name": "bank", "format": "mt940"},
    ),
    Step("list_statement_sources", "sources", "The sources of statements"),
    Step("list_audit", "first", "Who did what, the oldest first", query={"limit": "1"}),
    Step("ready", "ready", "Payments are taken"),
]


class Recorded:
    """The answers so far, as the examples have them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._routes = {route.name: route for route in all_routes()}
        self._answers: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []

    def tell(self, step: Step) -> None:
        """Make one call."""
        route = self._routes[step.operation]
        variables, query = self._filled(step.path), self._filled(step.query)
        path = route.path.format_map({name: quote(value, safe="") for name, value in variables.items()})
        where = f"{path}?{urlencode(query)}" if query else path
        answer = self._client.request(route.method, where, step.body, step.headers)
        assert answer.status == step.status, (step.name, answer.status, answer.body)
        if step.status < 300:
            self._answers[step.name] = answer.body
        self.calls.append(
            {
                "operation": step.operation,
                "name": step.name,
                "summary": step.summary,
                "path": variables,
                "query": query,
                "headers": dict(step.headers),
                "body": step.body,
                "status": answer.status,
                "media_type": answer.headers["Content-Type"],
                "answer": answer.body,
            }
        )

    def _filled(self, values: Mapping[str, str]) -> dict[str, str]:
        """Values with what earlier answers say."""

        def said(found: re.Match[str]) -> str:
            return str(self._answers[found[1]][found[2]])

        return {name: re.sub(r"\$(\w+)\.(\w+)", said, value) for name, value in values.items()}


def told(system: System) -> list[dict[str, Any]]:
    """Tell the story to a new installation; what was asked and answered."""
    client = system.client()
    recorded = Recorded(client)
    for step in STORY:
        recorded.tell(step)
        until(lambda: client.request("GET", "/readyz").body["backlog"] == 0, system.output)
    client.close()
    return recorded.calls


NOT_ALIKE = {
    *("payment_evidence", "list_audit", "ready", "list_events", "list_keys"),
    *("create_webhook", "list_webhooks", "get_webhook", "rotate_webhook_secret", "delete_webhook"),
    *("create_monitor", "list_monitors", "get_monitor", "end_monitor"),
}
"""What tells of clocks, of memory, and of what runs by itself: its members are alike, their values are not."""

MASKS = [
    (re.compile(r"pay_\d+_\d+_\d+"), "pay_*"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"hf_[0-9a-f]{12}_[\w-]+"), "hf_*"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<key>"),
    (re.compile(r'"change_id": \d+'), '"change_id": 0'),
    (re.compile(r'"(endpoint|monitor|proposal)_id": "[^"]+"'), r'"\1_id": "*"'),
]


def masked(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call without what differs from one installation to the next."""
    seen = (
        {**call, "answer": sorted(call["answer"]), "path": sorted(call["path"])}
        if call["operation"] in NOT_ALIKE
        else call
    )
    text = json.dumps(seen)
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    found: dict[str, Any] = json.loads(text)
    return found


def without_secrets(text: str) -> str:
    """A recording in which no key is one that anybody ever had, and no path one of the machine it was made on."""
    text = re.sub(r"hf_([0-9a-f]{12})_[\w-]+", r"hf_\1_the-secret-is-shown-once", text)
    text = re.sub(r"whsec_[\w+/=-]+", "whsec_the-secret-is-shown-once", text)
    return re.sub(r"up --port \d+ --data-dir [\w/.-]+", "up", text)


def main() -> None:
    """Record."""
    with tempfile.TemporaryDirectory() as directory:
        system = System(Path(directory) / "data")
        try:
            calls = told(system.start())
        finally:
            system.stop()
    RECORDING.write_text(without_secrets(json.dumps(calls, indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
