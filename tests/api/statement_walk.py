"""A walk through everything that the API does with statements: import, link, match, decide, sign off, reopen."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from tests.api.world import World
from tests.statements.month import Month, Movement, Stated, as_camt

BANK, FEES, WALLET = "bank:walk", "expense:walk", "wallet:walk"
DAY = date(2026, 1, 10)
LAST_ON = "2026-01-31"

RULES = [
    {"name": "Less a charge", "fields": {"reference": "external_id"}, "tolerance_minor": 10, "fee_account_id": FEES},
    {"name": "Same amount", "days": 3, "suggests": True},
]

Use = Callable[..., Any]
"""Calls an operation by its name, method, path and body, and returns the body of the answer."""


def month() -> Month:
    """Four payments: one by reference, one less a charge, and two that only their amounts tell."""
    amounts = (("walk-a", 500), ("walk-b", 700), ("walk-c", 900), ("walk-d", 300))
    payments = [Movement(name, DAY, amount, WALLET) for name, amount in amounts]
    lines = [
        Stated("1", DAY, 500, "walk-a", "x"),
        Stated("2", DAY, 700, "", "Transfer"),
        Stated("3", DAY, 890, "walk-c", "x"),
        Stated("4", DAY, 300, "", "Transfer"),
    ]
    return Month(payments, lines)


def upload(source: str = "walk", **more: Any) -> dict[str, Any]:
    """The body of an import of the month."""
    content = b64encode(as_camt(month()).encode()).decode()
    return {"source_name": source, "file_name": "january.xml", "content": content, **more}


def link(**more: Any) -> dict[str, Any]:
    """The body that links the month's account to the ledger's."""
    named = {"source_name": "walk", "account_ref": "DE001", "currency_code": "EUR", "account_id": BANK}
    return {**named, "rules": RULES, **more}


@dataclass
class Walk:
    """What the walk has met, by name of a path's variable."""

    ids: dict[str, str]
    first_run: dict[str, Any]
    trial: dict[str, Any]
    settled: dict[str, Any]
    period: dict[str, Any]
    signed: dict[str, Any]
    reopened: dict[str, Any]
    signed_again: dict[str, Any]


def prepare(world: World) -> None:
    """The ledger's side."""
    for account_id, kind in ((BANK, "asset"), (FEES, "expense"), (WALLET, "liability")):
        world.account(account_id, kind)
    opening = Movement("walk-opening", date(2025, 12, 31), 10_000_000, WALLET)
    for one in (opening, *month().payments):
        moment = f"{one.day}T12:00:00Z"
        paid = world.pay(BANK, WALLET, one.amount_minor, external_id=one.reference, effective_at=moment)
        assert paid.status_code == 201, paid.text
    world.drained()


def walk(world: World, use: Use) -> Walk:
    """Use every operation once, at least."""
    prepare(world)
    use("save_statement_source", "POST", "/v1/statement-sources", {"name": "walk", "format": "camt", "options": {}})
    use("import_statement", "POST", "/v1/statement-imports", upload())
    account = use("save_statement_account", "POST", "/v1/statement-accounts", link())["statement_account_id"]
    path = f"/v1/statement-accounts/{account}"
    first_run = use("run_matching", "POST", f"{path}/match-runs", {})
    trial = use("run_matching", "POST", f"{path}/match-runs", {"rules": RULES[1:]})
    right, wrong = use("list_matches", "GET", f"{path}/matches?state=suggested")["data"]
    use("confirm_match", "POST", f"/v1/matches/{right['match_id']}/confirm", {"reason": "yes"})
    use("undo_match", "POST", f"/v1/matches/{wrong['match_id']}/undo", {"reason": "not these"})
    parts = {
        "line_ids": [one["statement_line_id"] for one in wrong["lines"]],
        "entry_numbers": [one["entry_number"] for one in wrong["entries"]],
    }
    made = use("make_match", "POST", f"{path}/matches", {**parts, "reason": "after all"})["match_id"]
    kept = use("split_match", "POST", f"/v1/matches/{made}/split", {**parts, "reason": "these"})["match_id"]
    [charged] = [
        one
        for one in use("list_matches", "GET", f"{path}/matches?state=matched")["data"]
        if one["rule"] == "Less a charge"
    ]
    journal = {"journal_account_id": FEES, "reason": "the bank's charge"}
    settled = use("post_match_difference", "POST", f"/v1/matches/{charged['match_id']}/journal", journal)
    period = use("get_period", "GET", f"{path}/period?last_on={LAST_ON}")
    signed = use("sign_off", "POST", f"{path}/sign-offs", {"last_on": LAST_ON, "remark": "January"})
    again = f"{path}/sign-offs/{signed['sign_off_id']}/reopen"
    reopened = use("reopen_sign_off", "POST", again, {"reason": "the bank has corrected it"})
    signed_again = use("sign_off", "POST", f"{path}/sign-offs", {"last_on": LAST_ON})
    ids = {"statement_account_id": account, "match_id": kept, "sign_off_id": signed_again["sign_off_id"]}
    return Walk(ids, first_run, trial, settled, period, signed, reopened, signed_again)
