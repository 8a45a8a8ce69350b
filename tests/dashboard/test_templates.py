"""What holds for every template: tables have names and headers, and one is one."""

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[2] / "app" / "dashboard" / "templates"
NAMES = sorted(path.name for path in TEMPLATES.glob("*.html"))


def content(name: str) -> str:
    return (TEMPLATES / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_a_name_and_a_head(name: str) -> None:
    for table in re.findall(r"<table.*?</table>", content(name), re.DOTALL):
        tag = table.partition(">")[0]
        assert re.search(r" aria-label(ledby)?=", tag) or "<caption>" in table, tag
        assert 'scope="col"' in table or 'scope="row"' in table or "Shades" in tag, tag


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_not_followed_by_a_plural_that_one_would_not_have(name: str) -> None:
    text = content(name)
    allowed = {"calls", "matches", "open breaks"}  # after a condition that there is more than one
    by_hand = re.findall(r"\|(?:count|length)\)?(?: \}\}| ~ ') ?((?:[a-z]+ )?[a-z]+s)\b", text)
    assert {one for one in by_hand if one not in allowed} <= {"fits", "ms"}, "say it with the filter `counted`"
    assert not re.search(r"'[a-z ]+' if [^%}]{1,40} == 1 else '[a-z ]+s'", text)


@pytest.mark.parametrize("name", NAMES)
def test_amounts_with_a_currency_beside_them_name_it_on_a_phone_too(name: str) -> None:
    """There the cell of the currency is hidden, so the amount carries it."""
    for row in re.findall(r"<tr\b.*?</tr>", content(name), re.DOTALL):
        if '<td class="code"' in row and "|money(" in row and "<input" not in row:
            for cell in re.findall(r'<td class="num"[^>]*data-label="[^"]*"[^>]*>\{\{[^}]*money\(', row):
                assert "data-currency" in cell, cell
