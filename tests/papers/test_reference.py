"""The API reference in `docs/` is what the routes say, today."""

import json
import re

import pytest
from openapi_spec_validator import validate

from app.api.responses import catalogue
from app.commands.reference import DOCS, files
from app.domain.refusals import RefusalCode


@pytest.mark.parametrize("name", ["API.md", "openapi.json", "evidence.schema.json"])
def test_the_committed_reference_is_what_the_routes_give(name: str) -> None:
    generated = files()[DOCS / name]
    assert (DOCS / name).read_text(encoding="utf-8") == generated, "run `python3 -m app reference`"


def test_the_openapi_document_is_valid() -> None:
    validate(json.loads((DOCS / "openapi.json").read_text(encoding="utf-8")))


def test_the_reference_lists_every_refusal_in_order_of_precedence() -> None:
    chapter = (DOCS / "API.md").read_text(encoding="utf-8").partition("## Refusals")[2]
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (yes|no) \| ", chapter, re.MULTILINE)
    expected = [(code.value, str(status), "yes" if retryable else "no") for code, status, retryable, _ in catalogue()]
    assert rows == expected
    assert [code for code, _, _ in rows] == [code.value for code in RefusalCode]


def test_every_link_inside_the_reference_leads_somewhere() -> None:
    text = (DOCS / "API.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
