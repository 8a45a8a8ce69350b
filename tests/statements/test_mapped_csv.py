"""CSV of banks and spreadsheets: read as the mapping says, or refused with the cause."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statement import UnreadableStatement
from app.domain.statement_source import InvalidOptions, StatementFormat, read_options
from tests.statements.reading import CSV_OPTIONS, read

COLUMNS: dict[str, Any] = CSV_OPTIONS["columns"]


def options(columns: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {**CSV_OPTIONS, "columns": {**COLUMNS, **(columns or {})}, **more}


def test_a_german_export_is_read_with_its_preamble_marks_and_encoding() -> None:
    file = "Konto;DE001\n\nDatum;Betrag;Text\n31.12.2025;-1.234,56;Müller\n02.01.2026;1.000,00;x\n"
    columns = {"booked_on": "Datum", "amount": "Betrag", "text": "Text"}
    wanted = {"columns": columns, "currency": "EUR", "delimiter": ";", "header_line": 3, "encoding": "cp1252"}
    wanted |= {"decimal_mark": ",", "group_mark": ".", "date_format": "DD.MM.YYYY"}
    found = read("csv", file.encode("cp1252"), options=wanted)
    assert [(line.amount_minor, line.booked_on, line.text) for line in found.lines] == [
        (-123_456, date(2025, 12, 31), "Müller"),
        (100_000, date(2026, 1, 2), "x"),
    ]
    assert [line.line for line in found.lines] == [4, 5]


def test_the_example_of_the_docs_is_read_and_proven() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "statements.md").read_text()
    file, mapping = re.findall(r"```csv\n(.*?)```.*?```json\n(.*?)```", docs, re.DOTALL)[0]
    found = read("csv", file, options=json.loads(mapping))
    assert found.proofs == ["proven"]
    assert [(line.amount_minor, line.booked_on) for line in found.lines] == [
        (-1_250, date(2026, 1, 31)),
        (100_000, date(2026, 1, 30)),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_encodings_and_line_ends_of_spreadsheets(encoding: str, end: str) -> None:
    content = end.join(["Date,Amount,Text", "2026-01-02,1.00,Müller", '2026-01-03,2.00,"a, ""b"""', ""]).encode(
        encoding
    )
    named = {"encoding": encoding} if encoding in ("utf-16", "cp1252") else {}
    found = read("csv", content, options=options(**named))
    assert [(line.amount_minor, line.text) for line in found.lines] == [(100, "Müller"), (200, 'a, "b"')]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("Date,Amount,Text\n2026-01-02,1.00,Müller\n".encode("cp1252"), "line 1: the file is not in utf-8"),
        ("Date,Amount,Text\n".encode("utf-16"), "UTF-16"),
        ("Date,Amount,Text\n".encode("utf-16-le"), "NUL"),
        (b"Date,Amount,Text\n2026-01-02,1.00,\x00\n", "line 2: there is a NUL"),
        (b'Date,Amount,Text\n2026-01-02,1.00,"a\n', "quote"),
        (b"Date,Amount\n2026-01-02,1.00\n", "'Text' is not in the header"),
        (b"Date,Amount,Text,Text\n", "'Text' is twice in the header"),
        (b"", "not in the header"),
    ],
)
def test_what_cannot_be_read_is_refused_with_line_and_cause(content: bytes, cause: str) -> None:
    with pytest.raises(UnreadableStatement, match=cause):
        read("csv", content, options=options())


def test_swapped_signs_debit_and_credit_columns_and_words() -> None:
    swapped = read("csv", "Date,Amount,Text\n2026-01-02,5.00,card\n", options=options(is_swapped=True))
    assert swapped.amounts == [-500]
    columns = {"booked_on": "Date", "debit": "Out", "credit": "In"}
    file = "Date,Out,In\n2026-01-02,5.00,\n2026-01-02,-6.00,0.00\n2026-01-02,,7.00\n2026-01-02,1,1\n2026-01-02,,\n"
    found = read("csv", file, options={"columns": columns, "currency": "EUR"})
    assert found.amounts == [-500, -600, 700]
    assert [one.position for one in found.refused] == [4, 5]
    words = options({"direction": "Text"}, debit_words=["S"], credit_words=["H"])
    del words["columns"]["text"]
    spoken = read(
        "csv", "Date,Amount,Text\n2026-01-02,5,S\n2026-01-02,6,H\n2026-01-02,7,?\n2026-01-02,-8,S\n", options=words
    )
    assert spoken.amounts == [-500, 600]
    assert len(spoken.refused) == 2


BALANCED = "Date,Amount,Text,Balance\n2026-01-02,10.00,a,110.00\n2026-01-03,-5.00,b,105.00\n2026-01-04,1.00,c,106.00\n"


def test_a_running_balance_proves_every_row_in_either_order() -> None:
    head, *rows = BALANCED.splitlines()
    for order, newest_first in ((rows, False), (rows[::-1], True)):
        found = read(
            "csv", "\n".join([head, *order]), options=options({"balance": "Balance"}, is_newest_first=newest_first)
        )
        assert found.proofs == ["proven"]
        assert found.only.opening is not None
        assert found.only.closing is not None
        assert (found.only.opening.amount_minor, found.only.closing.amount_minor) == (10_000, 10_600)


def test_a_wrong_row_or_mapping_contradicts_the_running_balance() -> None:
    wrong = BALANCED.replace("-5.00", "-5.01")
    head, *rows = wrong.splitlines()
    for order, newest_first in ((rows, False), (rows[::-1], True)):
        found = read(
            "csv", "\n".join([head, *order]), options=options({"balance": "Balance"}, is_newest_first=newest_first)
        )
        assert found.proofs == ["differs"]
        assert found.only.difference_minor == 1
        assert found.tally.has_unexplained_differences
    swapped = read("csv", BALANCED, options=options({"balance": "Balance"}, is_swapped=True))
    assert swapped.only.difference_count == 2


def test_a_refused_row_explains_the_difference_that_it_leaves() -> None:
    found = read("csv", BALANCED.replace("-5.00", "-5.005"), options=options({"balance": "Balance"}))
    assert found.proofs == ["differs"]
    assert not found.tally.has_unexplained_differences
    assert [(one.line, one.position) for one in found.refused] == [(3, 2)]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("bad", ["2026-01-05,1.005,bad,8.00", "2026-01-05,1.00,bad", "2026-13-05,1.00,bad,9.00"])
@pytest.mark.parametrize("place", [0, 2])
def test_rows_that_lead_to_each_other_prove_nothing_of_a_refused_one(newest_first: bool, bad: str, place: int) -> None:
    rows = ["2026-01-02,1.00,a,11.00", "2026-01-03,2.00,b,13.00"]
    rows = list(reversed(rows)) if newest_first else rows
    rows.insert(place, bad)
    wanted = options({"balance": "Balance"}, is_newest_first=newest_first)
    found = read("csv", "\n".join(["Date,Amount,Text,Balance", *rows]), options=wanted)
    assert len(found.refused) == 1
    assert found.proofs == ["not_provable"]
    assert "1 line was refused" in found.only.remark


def test_two_currencies_and_accounts_are_statements_of_their_own() -> None:
    file = "Date,Amount,Text,Currency,Account\n" + "".join(
        f"2026-01-02,{amount},t,{currency},{account}\n"
        for amount, currency, account in [
            ("1.00", "EUR", "A"),
            ("500", "jpy", "A"),
            ("2.00", "EUR", "B"),
            ("3.00", "XXY", "A"),
        ]
    )
    found = read("csv", file, options=options({"currency": "Currency", "account": "Account"}))
    assert [(head.account_ref, head.currency_code) for head in found.heads] == [
        ("A", "EUR"),
        ("A", "JPY"),
        ("B", "EUR"),
    ]
    assert found.amounts == [100, 500, 200]
    assert "'XXY' is unknown" in found.refused[0].cause


def test_a_bad_row_is_refused_by_line_and_position_and_the_rest_is_kept() -> None:
    rows = ["2026-01-02,1.00,a", "2026-01-02,12.345,b", "02.01.2026,1.00,c", "2026-01-02,1.00", "", "2026-01-02,2.00,d"]
    found = read("csv", "\n".join(["Date,Amount,Text", *rows]), options=options())
    assert found.amounts == [100, 200]
    assert [(one.line, one.position) for one in found.refused] == [(3, 2), (4, 3), (5, 4)]


def test_a_quote_that_swallows_rows_is_refused() -> None:
    file = 'Date,Amount,Text\n2026-01-02,1.00,"a\n2026-01-02,2.00,b\n2026-01-02,3.00,"\n2026-01-02,4.00,c\n'
    found = read("csv", file, options=options())
    assert found.amounts == [400]
    assert "another row" in found.refused[0].cause


def test_ids_keep_their_zeros_and_all_their_digits() -> None:
    ids = ["00123", "12345678901234567890"]
    file = "Date,Amount,Text,Id\n" + "".join(f"2026-01-02,1.00,t,{one}\n" for one in ids)
    assert [line.line_id for line in read("csv", file, options=options({"id": "Id"})).lines] == ids


def test_columns_go_by_number_where_there_is_no_header() -> None:
    wanted = {"columns": {"booked_on": 1, "amount": 3}, "header_line": 0, "currency": "EUR", "is_minor": True}
    found = read("csv", "2026-01-02,x,105\n2026-01-02,x,1.05\n", options=wanted)
    assert found.amounts == [105]
    assert len(found.refused) == 1


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"columns": {"amount": "A"}}, "booked_on"),
        ({"columns": {"booked_on": "D"}}, "either amount, or debit and credit"),
        ({"columns": {"booked_on": "D", "debit": "A"}}, "together"),
        ({"columns": {"booked_on": "D", "amount": "A", "colour": "C"}}, "unknown colour"),
        ({"columns": {"booked_on": "D", "amount": "D"}}, "used twice"),
        ({"columns": {"booked_on": "D", "amount": 0}}, "a number from 1"),
        ({"currency": ""}, "give a currency"),
        ({"group_mark": ".", "decimal_mark": "."}, "the same"),
        ({"decimal_mark": "·"}, "decimal_mark must be one of"),
        ({"date_format": "YYYY-DD"}, "date_format"),
        ({"date_format": "%d"}, "date_format"),
        ({"header_line": -1}, "header_line"),
        ({"header_line": 0}, "by number"),
        ({"encoding": "klingon"}, "encoding"),
        ({"is_swapped": "yes"}, "true or false"),
        ({"debit_words": ["S"]}, "debit_words"),
        ({"surprise": 1}, "no option surprise"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(change: dict[str, Any], cause: str) -> None:
    with pytest.raises(InvalidOptions, match=cause):
        read_options(StatementFormat.CSV, {**CSV_OPTIONS, **change})


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.text(max_size=20)), max_size=8), st.sampled_from(".,"))
def test_a_written_file_comes_back_exactly(rows: list[tuple[int, str]], mark: str) -> None:
    def written(amount: int) -> str:
        return f"{'-' if amount < 0 else ''}{abs(amount) // 100}{mark}{abs(amount) % 100:02}"

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    rows = [(amount, text) for amount, text in rows if "\x00" not in text and text.isprintable()]
    lines = [f'2026-01-02;"{written(amount)}";{quoted(text)}' for amount, text in rows]
    found = read("csv", "\n".join(["Date;Amount;Text", *lines]), options=options(delimiter=";", decimal_mark=mark))
    assert found.amounts == [amount for amount, _ in rows]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(content: bytes) -> None:
    try:
        found = read("csv", b"Date,Amount,Text\n2026-01-02,1.00,a\n" + content, options=options())
    except UnreadableStatement:
        return
    assert found.amounts[0] == 100


@pytest.mark.parametrize("is_newest_first", [False, True])
@pytest.mark.parametrize("last", ["", "108.00"])
def test_rows_after_the_last_balance_are_not_proven_by_it(is_newest_first: bool, last: str) -> None:
    days = [("2026-01-02", "3.00", "103.00"), ("2026-01-03", "4.00", ""), ("2026-01-04", "1.00", last)]
    rows = [f"{day},{amount},x,{balance}" for day, amount, balance in days]
    file = "\n".join(["Date,Amount,Text,Balance", *(reversed(rows) if is_newest_first else rows), ""])
    found = read("csv", file, options=options({"balance": "Balance"}, is_newest_first=is_newest_first))
    assert found.only.opening is not None
    assert found.only.opening.amount_minor == 10_000
    assert found.proofs == (["proven"] if last else ["not_provable"])
    assert ("newest rows have no balance" in found.only.remark) == (not last)
    assert (found.only.closing is None) == (not last)
