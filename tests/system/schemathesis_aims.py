"""What the requests that schemathesis makes up are aimed at, so that they are about what exists and may be granted.

A request keeps whatever of it no rule between two fields, or between a field and the ledger, would refuse.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from tests.statements.month import Month, Stated, as_csv
from tests.system.schemathesis_material import ALICE, BOB, FEES, QUIET, SIGNED

__all__ = ["QUIET", "body", "known_id", "sizes"]

Body = dict[str, Any]


def known_id(ids: Mapping[str, list[str]], method: str, path: str, name: str, chance: int) -> str:
    """An id that exists for a variable of a path: of those for the method and the action, if there are such."""
    action = path.rpartition("/")[2]
    keys = (f"{method} {action} {name}", f"{method} {name}", f"{name} {action}", name)
    known: list[str] = next((ids[key] for key in keys if key in ids), [])
    assert known, f"{path} needs a {name} that exists: have schemathesis_material.py make one"
    return known[chance % len(known)]


def sizes(heads: Mapping[str, int], chance: int) -> dict[str, int]:
    """Two sizes of a chain that are signed."""
    partition = sorted(heads)[chance % len(heads)]
    to_size = chance % (heads[partition] + 1)
    return {"partition": int(partition), "from_size": chance // 7 % (to_size + 1), "to_size": to_size}


def body(path: str, variables: Mapping[str, Any], asked: Body, found: Mapping[str, Any], chance: int) -> Body:
    """The body about accounts that exist, with amounts that they can pay, under an id of its own."""
    fresh_id = f"fuzz:{chance}"
    aimed = dict(asked)
    if "external_id" in aimed:
        aimed["external_id"] = fresh_id
    if "payments" in aimed:
        aimed["payments"] = [
            body("/v1/payments", variables, one, found, chance + n) if isinstance(one, dict) else one
            for n, one in enumerate(aimed["payments"])
        ]
    if isinstance(aimed.get("amount_minor"), int):
        aimed["amount_minor"] = aimed["amount_minor"] % 10 + 1
    if "expected_version" in aimed and chance % 8 != 1:
        aimed["expected_version"] = None
    if "rules" in aimed and isinstance(aimed["rules"], list):
        aimed["rules"] = [{**one, "name": f"rule {n}"} for n, one in enumerate(aimed["rules"])]
    aim = AIMS.get(path)
    return aimed if aim is None else aim(aimed, variables, found, chance)


def _payment(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    aimed = asked | {"source_account_id": ALICE, "currency_code": "EUR"}
    aimed |= {"destination_account_id": BOB} if isinstance(asked.get("destination_account_id"), str) else {}
    is_split = isinstance(asked.get("destinations"), list)
    return aimed | ({"destinations": [{"account_id": BOB, "remainder": True}]} if is_split else {})


def _account(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    return asked | {"account_id": f"fuzz:{chance}", "currency_code": "EUR"}


def _journal(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    sides = ((ALICE, "debit"), (BOB, "credit"))
    entries = [{"account_id": one, "direction": side, "amount_minor": chance % 10 + 1} for one, side in sides]
    return asked | {"entries": entries, "relates_to_payment_id": None}


def _monitor(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    return asked | {"account_id": (ALICE, BOB)[chance % 2]}


def _break(asked: Body, _: Mapping[str, Any], found: Mapping[str, Any], __: int) -> Body:
    """Its owner is a user; what settles it takes a reason, which fits where it was found, and a comment."""
    aimed = asked | ({"owner": found["owner"]} if isinstance(asked.get("owner"), str) else {})
    is_settled = asked.get("state") in ("resolved", "accepted")
    aimed |= {"reason_code": "other"} if is_settled or isinstance(asked.get("reason_code"), str) else {}
    return aimed | ({"comment": asked.get("comment", "a test")} if is_settled else {})


def _repair(asked: Body, variables: Mapping[str, Any], found: Mapping[str, Any], _: int) -> Body:
    token = found["tokens"].get(variables["break_id"])
    return asked | ({"token": token} if token else {})


# Statements


def _import(asked: Body, _: Mapping[str, Any], found: Mapping[str, Any], chance: int) -> Body:
    """The file that was imported already, or a new one."""
    if chance % 8 < 3:
        return asked | {"source_name": "fuzz", "content": found["file"]}
    line = Stated(str(chance), date(2026, 3, 1), chance % 1_000 + 1, "", "Transfer")
    content = b64encode(as_csv(Month([], [line], opening_minor=0)).encode()).decode()
    return asked | {"source_name": "fuzz:table", "content": content}


def _statement_account(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    """New versions of the accounts that wait to be signed off: other rules for the desk would match what is by hand."""
    name = f"sign-{chance % SIGNED}"
    aimed = asked | {"source_name": "fuzz", "account_ref": name, "currency_code": "EUR"}
    aimed |= {"starts_on": "2026-01-01"} if isinstance(asked.get("starts_on"), str) else {}
    return aimed | {"account_id": f"fuzz:bank:{name}"}


def _match(asked: Body, _: Mapping[str, Any], found: Mapping[str, Any], chance: int) -> Body:
    """Two that are the same; of one that a journal is posted for, the line alone."""
    aimed: Body = asked | found["pairs"][chance % len(found["pairs"])]
    has_journal = isinstance(asked.get("journal_account_id"), str)
    return aimed | ({"journal_account_id": FEES, "entry_numbers": []} if has_journal else {})


def _split(asked: Body, variables: Mapping[str, Any], found: Mapping[str, Any], _: int) -> Body:
    parts: Body = found["parts"].get(variables["match_id"], {})
    return asked | parts


def _match_journal(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], ___: int) -> Body:
    return asked | {"journal_account_id": FEES}


def _sign_off(asked: Body, _: Mapping[str, Any], __: Mapping[str, Any], chance: int) -> Body:
    return asked | {"last_on": str(date(2026, 1, 10) + timedelta(days=chance % 22))}


AIMS: Mapping[str, Callable[[Body, Mapping[str, Any], Mapping[str, Any], int], Body]] = {
    "/v1/payments": _payment,
    "/v1/accounts": _account,
    "/v1/journals": _journal,
    "/v1/journal-proposals": _journal,
    "/v1/monitors": _monitor,
    "/v1/breaks/{break_id}": _break,
    "/v1/breaks/{break_id}/repair": _repair,
    "/v1/statement-imports": _import,
    "/v1/statement-accounts": _statement_account,
    "/v1/statement-accounts/{statement_account_id}/matches": _match,
    "/v1/statement-accounts/{statement_account_id}/sign-offs": _sign_off,
    "/v1/matches/{match_id}/split": _split,
    "/v1/matches/{match_id}/journal": _match_journal,
}
"""By path; no path takes bodies by two methods."""
