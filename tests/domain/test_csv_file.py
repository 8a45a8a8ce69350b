"""Strict CSV: what is read, and which physical line an error names."""

import csv
from io import BytesIO, StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.csv_file import MalformedFile, records


def read(raw: bytes) -> list[tuple[int, list[str]]]:
    return list(records(BytesIO(raw)))


def complaint(raw: bytes) -> str:
    with pytest.raises(MalformedFile) as refused:
        read(raw)
    return str(refused.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_each_of_the_usual_ways(end: str) -> None:
    raw = end.join(["a,b", "", "c,ü", end, "e,f"]).encode()
    assert read(raw) == [(1, ["a", "b"]), (3, ["c", "ü"]), (6, ["e", "f"])]
    assert read(raw + end.encode()) == read(raw)
    assert complaint(raw + end.encode() + b'"').startswith("line 7: ")


def test_a_byte_order_mark_is_skipped_at_the_start_alone() -> None:
    assert read("\ufeffa,b\n\ufeffc".encode()) == [(1, ["a", "b"]), (2, ["\ufeffc"])]
    assert read(b"") == read("\ufeff".encode()) == []


@pytest.mark.parametrize(
    ("raw", "line", "cause"),
    [
        ("a\nü,b\nc".encode("cp1252"), 2, "0xFC is not UTF-8"),
        ("a\r\n\r\né".encode("latin-1"), 3, "save the file as UTF-8"),
        ("a\rb\rß".encode("cp1252"), 3, "0xDF"),
        (b"a\n\xc3", 2, "0xC3"),
        ("a,b\n".encode("utf-16"), 1, "UTF-16"),
        ("a,b\n".encode("utf-16-be"), 1, "UTF-16"),
        ("a,b\n".encode("utf-16-le"), 1, "UTF-16"),
        (b"\xfe\xff\x00a", 1, "UTF-16"),
        (b"a\nb\x00", 2, "NUL"),
    ],
)
def test_another_encoding_is_refused_on_its_line(raw: bytes, line: int, cause: str) -> None:
    said = complaint(raw)
    assert said.startswith(f"line {line}: ")
    assert cause in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,"b', 1),
        ('a,b\nc,"d\ne,f\n', 2),
        ('a,"b\nc","d\ne', 2),
        ('a\n\n"b""\nc\n', 3),
        ('a\n"b"c"\n', 2),
        ('x,"y\n1,"z",2\n', 1),
        ('x,"y\r\n",z\r\nk,"l\r\nm,"n"\r\n', 3),
        ('a\r"b\rc', 2),
        ('a\nb,"' + "c\n" * 100_000, 2),
    ],
)
def test_a_quote_that_is_not_closed_is_blamed_on_the_line_where_it_opens(text: str, line: int) -> None:
    said = complaint(text.encode())
    assert said.startswith(f"line {line}: ")
    assert "quote" in said


def test_a_value_without_an_end_is_refused_on_its_line() -> None:
    assert complaint(b"a\n" + b"b" * 200_000).startswith("line 2: field larger")


values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufeff"), max_size=8)


@given(st.lists(st.lists(values, min_size=2, max_size=4), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_a_writer_has_written_is_read_back(rows: list[list[str]], end: str) -> None:
    file = StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    assert [fields for _, fields in read(file.getvalue().encode())] == rows
