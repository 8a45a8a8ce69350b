"""What schemathesis has to know of this API that no schema can tell."""

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis

from app.domain.accounts import DEFAULT_ENTITY
from tests.system import schemathesis_aims as aims

MATERIAL = "HOLDFAST_MATERIAL"
"""Names the file with what exists, as `schemathesis_material.py` has made it."""

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
    "to": "does not lie before `from`",
    "content": "is a file of the source's format",
}
"""Fields that may be malformed although the document allows them, and why."""

BEYOND_ITS_WORDS = {
    "The body holds a NUL": "deep in metadata too",
    "A number that would not come back": "a number in metadata is one that a double holds exactly",
    "Expected `int": "a whole number is written without a fraction; for JSON Schema 1.0 is whole",
    "the name of rule": "is printable throughout",
    "the name of a source": "is printable throughout too",
    "two rules have the same name": "but not all that they say",
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
    """Examples, and three of four other valid requests, are about what exists, so that they meet the rules behind."""
    if not is_positive(case):
        return
    if case.operation.path == "/v1/events" and case.query:
        case.query.pop("wait", None)  # it would only take its time
    found = json.loads(Path(os.environ[MATERIAL]).read_text())
    chance = crc32(repr((case.operation.label, case.path_parameters, case.query, case.body)).encode())
    if isinstance(case.body, dict) and "url" in case.body:
        case.body |= {"url": found["url"]}  # no name has to be looked up, and none is in vain
        case.body |= {"account_id": aims.QUIET} if case.method == "POST" else {}
    assert case.meta is not None
    if chance % 4 == 0 and case.meta.phase.name.value != "examples":
        return
    # In a scenario of several requests, the path names what an earlier one has made.
    for name in (case.path_parameters or {}) if case.meta.phase.name.value != "stateful" else ():
        case.path_parameters[name] = aims.known_id(found["ids"], case.method, case.operation.path, name, chance)
    if isinstance(case.body, dict):
        case.body = aims.body(case.operation.path, case.path_parameters or {}, case.body, found, chance)
    if case.operation.path == "/v1/heads/consistency" and case.query:
        case.query |= aims.sizes(found["heads"], chance)
    if case.query and "external_id" in case.query:
        case.query |= {"external_id": found["external_id"], "entity_id": DEFAULT_ENTITY}
    if case.headers and "If-Match" in case.headers and chance % 8 != 1:
        del case.headers["If-Match"]  # it would be malformed, or that of another version
