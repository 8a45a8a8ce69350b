"""What schemathesis has to know of this API that no schema can tell."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis

KNOWN_IDS = "HOLDFAST_KNOWN_IDS"
"""Names a file with ids that exist, by the variable of the path that takes them: all of them, those for a method, which
stands before it, or those for an action, which stands after it."""

BEYOND_ANY_SCHEMA = {
    "by": "counts only with an instant",
    "at": "`by` needs it",
    "as_of": "`by` needs it",
    "after": "a cursor is opaque: only what `next` has told is one",
    "If-Match": "schemathesis writes letters and digits into headers, and no quotes",
    "expected_version": "says the same as If-Match",
    "metadata": "has a size and a depth",
    "options": "of a source of statements depend on its format",
    "url": "leads to a public address, which only a look-up tells",
    "to_size": "is not before from_size, and is signed",
    "starts_on": "is a day of the calendar",
    "last_on": "is one too",
    "effective_at": "has an offset that leads into the years 1 to 9999",
    "expires_at": "has one too",
}
"""Fields that may be malformed although the document allows them, and why."""

BEYOND_ITS_WORDS = {
    "The body holds a NUL": "deep in metadata too",
    "A number that would not come back": "a number in metadata is one that a double holds exactly",
    "Expected `int": "a whole number is written without a fraction; for JSON Schema 1.0 is whole",
}
"""How such refusals begin that name no field."""


@schemathesis.check
def positive_data_is_not_malformed(ctx: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """What the document allows may be refused by a rule of the ledger, and is never malformed."""
    if not is_positive(case) or response.status_code != 400:
        return
    problem = response.json()
    is_beyond = problem.get("field") in BEYOND_ANY_SCHEMA or problem["detail"].startswith(tuple(BEYOND_ITS_WORDS))
    assert is_beyond, f"valid data was refused as malformed: {problem}"


@schemathesis.check
def each_malformed_item_is_refused(ctx: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """A batch is answered item by item, so that one malformed payment does not spoil the others."""
    is_answered = response.status_code == 200 and case.operation.path == "/v1/payments/batch"
    if not is_answered or case.meta is None or is_positive(case):
        return
    answered = [item["status"] for item in response.json()["data"]]
    assert any(status >= 400 for status in answered), f"a malformed batch was accepted: {answered}"


@schemathesis.deserializer("application/x-ndjson")
def first_line(context: Any, response: Any) -> Any:
    """One line stands for all: the schema is that of a line."""
    return json.loads(response.content.splitlines()[0]) if response.content else None


def is_positive(case: schemathesis.Case) -> bool:
    """Whether the document allows the request."""
    return case.meta is not None and case.meta.generation.mode.is_positive


# Requests that reach something


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Three of four valid requests are about what exists, so that they meet the rules behind the look-up."""
    if case.operation.path == "/v1/events" and case.query and is_positive(case):
        case.query.pop("wait", None)  # it would only take its time
    chance = crc32(repr((case.path_parameters, case.body)).encode())
    if not is_positive(case) or chance % 4 == 0:
        return
    known = json.loads(Path(os.environ[KNOWN_IDS]).read_text())
    action = case.operation.path.rpartition("/")[2]
    for name in case.path_parameters or {}:
        ids = known.get(f"{case.method} {name}") or known.get(f"{name} {action}") or known.get(name)
        if ids:
            case.path_parameters[name] = ids[chance % len(ids)]
    if isinstance(case.body, dict):
        case.body = aimed(case.operation.path, case.body, f"fuzz:{chance}")


def aimed(path: str, body: Mapping[str, Any], fresh_id: str) -> dict[str, Any]:
    """The same body about accounts that exist, with amounts that they can pay, under an id of its own."""
    found = dict(body)
    if "external_id" in found:
        found["external_id"] = fresh_id
    if "payments" in found:
        found["payments"] = [
            aimed("/v1/payments", one, f"{fresh_id}:{n}") if isinstance(one, dict) else one
            for n, one in enumerate(found["payments"])
        ]
    if isinstance(found.get("amount_minor"), int):
        found["amount_minor"] = found["amount_minor"] % 10 + 1
    if path == "/v1/payments":
        found |= {"source_account_id": "fuzz:alice", "currency_code": "EUR"}
        found |= {"destination_account_id": "fuzz:bob"} if isinstance(found.get("destination_account_id"), str) else {}
        is_split = isinstance(found.get("destinations"), list)
        found |= {"destinations": [{"account_id": "fuzz:bob", "remainder": True}]} if is_split else {}
    if path == "/v1/accounts":
        found |= {"account_id": fresh_id, "currency_code": "EUR"}
    if path == "/v1/journals":
        sides = (("fuzz:alice", "debit"), ("fuzz:bob", "credit"))
        found["entries"] = [{"account_id": one, "direction": side, "amount_minor": 5} for one, side in sides]
        found["relates_to_payment_id"] = None
    return found
