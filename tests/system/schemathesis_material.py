"""Makes something of each kind: schemathesis makes requests up, and most of the rules come after a look-up.

It is made as users make it: through the API, by the command line, and by a hand in the cache where a break is wanted.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import uuid4

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS, partition_of
from tests import hot_state
from tests.patience import until
from tests.statements.month import CSV_OPTIONS, Month, Movement, Stated, as_camt
from tests.system.harness import BANK, Client, System, payment

ALICE, BOB, FEES, QUIET = "fuzz:alice", "fuzz:bob", "fuzz:fees", "fuzz:quiet"
OWNER = "fuzz"
LAST_ON = "2026-01-31"

MANY = 12
"""As many of what an action uses up: half of it is left after the first two phases."""

SIGNED = 6
"""Accounts to sign off, and those that are signed off: each can be more than once, day by day."""

OFF = [f"fuzz:off:{n}" for n in range(MANY // 2)]
"""Accounts that the cache has wrong."""

Ids = dict[str, list[str]]


def material(system: System, hook_url: str) -> dict[str, Any]:
    """What exists, as the hooks read it: `ids` by the name that takes them, and what else bodies name."""
    client = system.client()
    try:
        accounts = _accounts(client)
        ids = accounts | _payments(client) | _journals(client) | _access(client) | _events(client, hook_url)
        desk, parts, pairs = _statements(client)
        broken, tokens = _breaks(system, client)
        system.run("users", "invite", OWNER, "--role", "controller", check=0)
        ids |= desk | broken | _proofs(client)
        heads = {str(one["partition"]): one["chain_seq"] for one in client.get("/v1/heads")["data"]}
        external_id = client.get(f"/v1/payments/{ids['payment_id'][0]}")["external_id"]
    finally:
        client.close()
    return {
        "ids": ids,
        "external_id": external_id,
        "parts": parts,
        "pairs": pairs,
        "tokens": tokens,
        "heads": heads,
        "url": hook_url,
        "owner": OWNER,
        "file": _file(_months()),
    }


def _made(client: Client, path: str, body: Any = None) -> Any:
    """The answer to what was made."""
    answer = client.request("POST", path, {} if body is None else body)
    assert answer.status in (200, 201, 202), (path, answer.status, answer.body)
    return answer.body


def _accounts(client: Client) -> Ids:
    client.account(BANK, "asset")
    client.account(FEES, "expense")
    client.account(QUIET)
    accounts = [client.account(ALICE, metadata={"tier": 1}), client.account(BOB)]
    for account_id in accounts:
        client.fund(account_id, 100_000_000)
    _made(client, "/v1/assets", {"currency_code": "FUZZ", "minor_units": 2, "name": "Fuzz"})
    changed = [client.account("fuzz:changed")]  # a change may close it
    return {"account_id": accounts, "PATCH account_id": changed, "currency_code": ["EUR", "FUZZ"]}


def _payments(client: Client) -> Ids:
    """Payments, those that are refunded apart from those that are read, and authorizations for each end of one."""
    posted = _paid(client, [payment(ALICE, BOB, 70_000) for _ in range(MANY)])
    held = _paid(client, [payment(ALICE, BOB, 300, capture="manual") for _ in range(2 * MANY)])
    refund = _made(client, f"/v1/payments/{posted[0]}/refunds", {"external_id": uuid4().hex, "amount_minor": 5})
    return {
        "payment_id": posted[:1],
        "payment_id refunds": posted[1:],
        "payment_id capture": held[:MANY],
        "payment_id void": held[MANY:],
        "refund_id": [refund["refund_id"]],
    }


def _paid(client: Client, payments: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of payments, in the ledger when this returns."""
    items = _made(client, "/v1/payments/batch", {"payments": list(payments)})["data"]
    assert all(one["status"] == 201 for one in items), items
    ids = [one["payment"]["payment_id"] for one in items]
    until(lambda: all(client.get(f"/v1/payments/{one}")["status"] != "pending" for one in ids))
    return ids


def _journal() -> dict[str, Any]:
    sides = ((ALICE, "debit"), (BOB, "credit"))
    entries = [{"account_id": one, "direction": side, "amount_minor": 5} for one, side in sides]
    return {"external_id": uuid4().hex, "reason": "a test", "entries": entries}


def _journals(client: Client) -> Ids:
    journals = [_made(client, "/v1/journals", _journal())["journal_id"] for _ in range(2 * MANY)]
    proposals = [_made(client, "/v1/journal-proposals", _journal())["proposal_id"] for _ in range(MANY)]
    return {
        "journal_id": journals[:1],
        "journal_id reversal": journals[1:MANY],
        "journal_id reversal-proposals": journals[MANY:],
        "proposal_id": proposals[:1],
        "proposal_id withdrawal": proposals[1:],
    }


def _access(client: Client) -> Ids:
    made = [_made(client, "/v1/keys", {"name": "fuzz", "scopes": ["reports:read"]})["key_id"] for _ in range(3 * MANY)]
    return {
        "key_id": made[:1],
        "key_id rotate": made[1 : 2 * MANY],
        "DELETE key_id": made[2 * MANY :],
        "audit_id": [one["audit_id"] for one in client.get("/v1/audit?limit=5")["data"]],
    }


def _events(client: Client, hook_url: str) -> Ids:
    """Endpoints that lead to one receiver; only the first is told of what goes on, the others look at one account."""
    quiet = {"url": hook_url, "account_id": QUIET}
    listening = _made(client, "/v1/webhooks", {"url": hook_url})["endpoint_id"]
    endpoints = [_made(client, "/v1/webhooks", quiet)["endpoint_id"] for _ in range(2 * MANY)]
    condition = {"account_id": ALICE, "measure": "available", "comparison": "below", "threshold_minor": 5}
    monitors = [_made(client, "/v1/monitors", condition)["monitor_id"] for _ in range(MANY)]
    return {
        "endpoint_id": [listening],
        "endpoint_id rotate": endpoints[:1],
        "PATCH endpoint_id": endpoints[1:MANY],
        "DELETE endpoint_id": endpoints[MANY:],
        "monitor_id": monitors[:1],
        "DELETE monitor_id": monitors[1:],
    }


# Statements

RULES = [
    {"name": "Less a charge", "fields": {"reference": "external_id"}, "tolerance_minor": 5, "fee_account_id": FEES},
    {"name": "Same amount", "days": 3, "suggests": True},
]
DAY, LATE = date(2026, 1, 10), date(2026, 1, 25)
UNDONE, SPLIT, CONFIRMED, CHARGED, BY_HAND, ALONE = 1_000, 2_000, 3_000, 40_000, 50_000, 60_000
"""The amounts of movements, by what becomes of them, each with the number of the movement added, or ten times that."""


def _desk_month() -> Month:
    """Movements for each decision on a match: some have a reference, some are less a charge, some on other days."""
    month = Month(opening_minor=0)
    for kind in (UNDONE, SPLIT, CONFIRMED, CHARGED, BY_HAND):
        day = LATE if kind == BY_HAND else DAY
        month.payments += [Movement(f"fuzz-{kind}-{n}", day, kind + 10 * n, ALICE) for n in range(MANY)]
    for one in month.payments:
        is_told = one.amount_minor // 1_000 in (1, 2, 40)
        stated = one.amount_minor - 3 * (one.amount_minor // 1_000 == 40)
        month.lines.append(Stated(f"B{one.amount_minor}", DAY, stated, one.reference if is_told else "", "Transfer"))
    month.lines += [Stated(f"B{ALONE + n}", DAY, ALONE + 10 * n, "", "Transfer") for n in range(MANY)]
    return month


def _months() -> dict[str, Month]:
    """The desk's month, and one of a single movement for each account that is to be, or is, signed off."""
    months = {"desk": _desk_month()}
    for name in (f"{state}-{n}" for state in ("sign", "signed") for n in range(SIGNED)):
        paid, stated = Movement(f"fuzz-{name}", DAY, 500, ALICE), Stated("1", DAY, 500, f"fuzz-{name}", "Transfer")
        months[name] = Month([paid], [stated], opening_minor=0)
    return months


def _statements(client: Client) -> tuple[Ids, dict[str, Any], list[Any]]:
    """A desk with matches in all states, accounts to sign off, and accounts that are signed off.

    Returns their ids, the lines and entries of the matches that are split, and open ones that belong together.
    """
    linked = _linked(client, _months())
    for account in linked.values():
        _made(client, f"/v1/statement-accounts/{account}/match-runs")
    path = f"/v1/statement-accounts/{linked['desk']}"
    matches = client.get(f"{path}/matches?limit=1000")["data"]
    by_kind = {
        kind: [one for one in matches if kind <= one["entries_minor"] < kind + 10 * MANY]
        for kind in (UNDONE, SPLIT, CONFIRMED, CHARGED)
    }
    assert all(len(found) == MANY for found in by_kind.values()), matches
    decided = {"undo": UNDONE, "split": SPLIT, "confirm": CONFIRMED, "journal": CHARGED}
    items = client.get(f"{path}/unmatched?limit=1000")["data"]
    signed = [linked[f"signed-{n}"] for n in range(SIGNED)]
    signatures = [
        _made(client, f"/v1/statement-accounts/{account}/sign-offs", {"last_on": LAST_ON})["sign_off_id"]
        for account in signed
    ]
    ids = {
        "statement_account_id": [linked["desk"]],
        "POST sign-offs statement_account_id": [linked[f"sign-{n}"] for n in range(SIGNED)],
        "statement_account_id reopen": signed,
        "sign_off_id reopen": signatures,
        "match_id": [matches[0]["match_id"]],
        **{f"match_id {action}": [one["match_id"] for one in by_kind[kind]] for action, kind in decided.items()},
        "statement_id": [one["statement_id"] for one in client.get("/v1/statements?limit=5")["data"]],
        "PATCH break_id": [one["break_id"] for one in items if one["amount_minor"] >= ALONE],
    }
    return ids, {one["match_id"]: _parts(one["lines"], one["entries"]) for one in by_kind[SPLIT]}, _pairs(items)


def _linked(client: Client, months: Mapping[str, Month]) -> dict[str, str]:
    """Statement accounts `fuzz:bank:NAME` whose months are in the ledger and imported, by name."""
    accounts = {name: client.account(f"fuzz:bank:{name}", "asset") for name in months}
    payments = [
        payment(
            accounts[name],
            one.customer,
            one.amount_minor,
            external_id=one.reference,
            effective_at=f"{one.day}T12:00:00Z",
        )
        for name, month in months.items()
        for one in month.payments
    ]
    _paid(client, payments)
    _made(client, "/v1/statement-sources", {"name": "fuzz", "format": "camt", "options": {}})
    _made(client, "/v1/statement-sources", {"name": "fuzz:table", "format": "csv", "options": CSV_OPTIONS})
    _made(client, "/v1/statement-imports", {"source_name": "fuzz", "file_name": "f.xml", "content": _file(months)})
    named = {"source_name": "fuzz", "currency_code": "EUR", "rules": RULES}
    bodies = {name: {**named, "account_ref": name, "account_id": account} for name, account in accounts.items()}
    return {name: _made(client, "/v1/statement-accounts", one)["statement_account_id"] for name, one in bodies.items()}


def _file(months: Mapping[str, Month]) -> str:
    """All months as the statements of one file."""
    start, end = "<Stmt>", "</Stmt>"
    whole = [as_camt(month).replace("DE001", name) for name, month in months.items()]
    head, _, rest = whole[0].partition(start)
    statements = "".join(one[one.index(start) : one.index(end)] + end for one in whole)
    return b64encode((head + statements + rest.partition(end)[2]).encode()).decode()


def _parts(lines: Iterable[Any], entries: Iterable[Any]) -> dict[str, Any]:
    return {
        "line_ids": [one["statement_line_id"] for one in lines],
        "entry_numbers": [one["entry_number"] for one in entries],
    }


def _pairs(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Lines and entries of the same amount that no rule has brought together."""
    lines = {one["amount_minor"]: one["line"] for one in items if one["line"]}
    found = [(lines[one["amount_minor"]], one["entry"]) for one in items if one["entry"] and not one["line"]]
    assert len(found) == MANY, items
    return [_parts([line], [entry]) for line, entry in found]


# Proofs


def _breaks(system: System, client: Client) -> tuple[Ids, dict[str, str]]:
    """Breaks of accounts that somebody has changed in the cache, and the token of what each repair would do."""
    off = [client.account(one) for one in OFF]
    _paid(client, [payment(BANK, one, 100) for one in off])
    for account_id in off:
        assert client.balance(account_id)["balance_minor"] == 100, "cached from here on"
    with system.cache() as cache:
        for account_id in off:
            hot_state.add(cache, keys.account(partition_of(account_id, DEFAULT_PARTITIONS), account_id), balance=50)
    system.run("reconcile", "--full", check=1)
    found = client.get("/v1/breaks?source=inside&state=open&limit=1000")["data"]
    ids = [one["break_id"] for one in found if one["account_id"] in off]
    assert len(ids) == len(off), found
    tokens = {one: client.get(f"/v1/breaks/{one}/repair")["token"] for one in ids}
    return {"break_id": ids[:1], "POST break_id": ids[1:]}, tokens


def _proofs(client: Client) -> Ids:
    asked = _made(client, "/v1/reconciliation-runs", {"mode": "incremental"})["request_id"]
    runs = client.get("/v1/reconciliation-runs?limit=5")["data"]
    return {"request_id": [asked], "run_id": [one["run_id"] for one in runs]}
