"""An export is CSV as RFC 4180 has it, safe to open, and comes back exactly."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.csv_export import csv_lines, neutral, original
from app.domain.csv_file import records


def exported(*rows: list[str | int | bool | None]) -> bytes:
    return b"".join(csv_lines(["name", "amount_minor"], rows))


def test_numbers_are_numbers_and_texts_are_quoted() -> None:
    assert exported(["a,b", -5], [None, 7], ['say "é"', True]) == (
        '"name","amount_minor"\r\n"a,b",-5\r\n"",7\r\n"say ""é""","true"\r\n'.encode()
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "'"])
def test_what_a_spreadsheet_would_evaluate_is_neutralised(text: str) -> None:
    assert neutral(text) == f"'{text}"
    assert original(neutral(text)) == text


@pytest.mark.parametrize("text", ["", "1+1", "a=1", "O'Neill", " =1"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), st.integers()), max_size=5))
def test_what_is_exported_is_read_again_exactly(rows: list[tuple[str, int]]) -> None:
    data = b"".join(csv_lines(["name", "amount_minor"], rows))
    read = [fields for _, fields in records(io.BytesIO(data))]
    assert [(original(text), int(amount)) for text, amount in read[1:]] == rows


def test_many_rows_are_made_as_they_are_asked_for() -> None:
    made = 0

    def rows() -> object:
        nonlocal made
        for number in range(10_000):
            made += 1
            yield [str(number), number]

    pieces = csv_lines(["name", "amount_minor"], rows())  # type: ignore[arg-type]
    next(pieces)
    assert made < 1_000
    assert len(b"".join(pieces).splitlines()) + 501 == 10_001
