"""What schemathesis has to know of this API that no schema can tell."""

import json
from typing import Any

import schemathesis

BY_ITSELF = {
    "by": "counts only with an instant",
    "at": "`by` needs it",
    "as_of": "`by` needs it",
    "after": "a cursor is opaque: only what `next` has told is one",
    "If-Match": "schemathesis writes letters and digits into headers, and no quotes",
    "expected_version": "says the same as If-Match",
    "metadata": "has a size, a depth, and numbers that a double holds exactly",
    "effective_at": "has an offset that leads into the years 1 to 9999",
}
"""Fields that are refused as malformed, although their schema allows them, and why."""


@schemathesis.check
def positive_data_is_not_malformed(ctx: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """What the document allows may be refused by a rule of the ledger, and is never malformed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = response.json()
    assert problem.get("field") in BY_ITSELF, f"valid data was refused as malformed: {problem}"


@schemathesis.check
def each_malformed_item_is_refused(ctx: schemathesis.CheckContext, response: Any, case: schemathesis.Case) -> None:
    """A batch is answered item by item, so that one malformed payment does not spoil the others."""
    is_answered = response.status_code == 200 and case.operation.path == "/v1/payments/batch"
    if not is_answered or case.meta is None or not case.meta.generation.mode.is_negative:
        return
    answered = [item["status"] for item in response.json()["data"]]
    assert any(status >= 400 for status in answered), f"a malformed batch was accepted: {answered}"


@schemathesis.deserializer("application/x-ndjson")
def first_line(context: Any, response: Any) -> Any:
    """One line stands for all: the schema is that of a line."""
    return json.loads(response.content.splitlines()[0]) if response.content else None
