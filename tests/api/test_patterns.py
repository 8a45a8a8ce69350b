"""Patterns of the OpenAPI document mean the same to every dialect of regular expressions, and to the server."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.world import World, assert_problem
from tests.patience import COMMAND_S

ESCAPES = re.compile(r"\\(x[0-9a-f]{2}|[.])")
"""What a backslash may stand for; dialects differ in the rest, such as `\\Z`, `\\1`, `\\d` and `\\p`."""

TEXTS = [
    *("", "a b", "é", "\U0001f600", "a\x00", "\xa0a", "٣٤٥"),
    *("EUR", "12", '"12"', "0.5", "2026-01-31", "aud_1_2", "10.0.0.0/8", "5.1.2", "end", "YWJj", "x/balance"),
    *("payment.posted,payment.captured", "details.a", "metadata.a", "reference", "id"),
]
MATCHED = [*TEXTS, *(text + "\n" for text in TEXTS)]

PROGRAM = """
const [patterns, texts] = JSON.parse(require("fs").readFileSync(0, "utf8"))
console.log(JSON.stringify(patterns.map(one => texts.map(text => new RegExp(one, "u").test(text)))))
"""


def patterns(schema: Any) -> Iterator[str]:
    """Every pattern of a document."""
    if isinstance(schema, dict):
        yield from [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
        yield from schema.get("patternProperties", ())
    for one in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from patterns(one)


@pytest.fixture
def documented(shared_world: World) -> list[str]:
    """The patterns of the document, each once."""
    found = sorted(set(patterns(shared_world.document)))
    assert len(found) > 10
    return found


def test_a_pattern_has_nothing_that_some_dialect_cannot_read(documented: list[str]) -> None:
    for one in documented:
        assert not re.search(r"\(\?(?!:)", one), f"no look-around, no name, no flag: {one}"
        assert "\\" not in ESCAPES.sub("", one), f"no escape but {ESCAPES.pattern}: {one}"
        assert not re.search(r"[*+?}]\+", one), f"no possessive repeat: {one}"
        assert one.rstrip(")").endswith("$"), f"a pattern without an end matches a part: {one}"


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed here")
def test_a_pattern_means_to_ecmascript_what_it_means_here(documented: list[str]) -> None:
    asked = json.dumps([documented, MATCHED])
    told = subprocess.run(
        [shutil.which("node") or "", "-e", PROGRAM],
        input=asked, capture_output=True, text=True, check=True, timeout=COMMAND_S,
    )  # fmt: skip
    here = [[re.search(one.replace("$", r"\Z"), text) is not None for text in MATCHED] for one in documented]
    assert json.loads(told.stdout) == here
    for one, found in zip(documented, here, strict=True):
        assert {*found} == {True, False}, f"the texts try nothing of {one}"


RULE = {"name": "a rule", "fields": {"reference": "external_id"}, "tolerance_minor": 1}
LINKED = {"source_name": "bank", "account_ref": "", "currency_code": "EUR", "account_id": "bank"}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/accounts", {"account_id": "a", "type": "asset", "currency_code": "EUR\n"}, "currency_code"),
        ("POST", "/v1/statement-accounts", {**LINKED, "starts_on": "2026-01-31\n"}, "starts_on"),
        ("POST", "/v1/statement-accounts", {**LINKED, "starts_on": "٢٠٢٦-01-31"}, "starts_on"),
        (
            "POST",
            "/v1/statement-accounts/1/matches",
            {"line_ids": ["12\n"], "entry_numbers": [1], "reason": "the same"},
            "line_ids",
        ),
        (
            "POST",
            "/v1/statement-accounts/1/match-runs",
            {"rules": [{**RULE, "fee_account_id": "fees\n"}]},
            "fee_account_id",
        ),
    ],
)
def test_the_decoder_lets_no_line_break_follow(
    shared_world: World, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    problem = assert_problem(shared_world.call(method, path, json=body), 400, "malformed_request")
    assert problem["field"] == field
    assert problem["detail"].endswith("$.")
