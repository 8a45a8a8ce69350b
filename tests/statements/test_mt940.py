"""MT940: what is known to go wrong with it, and how it is read."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MAX_MINOR
from app.domain.statement import UnreadableStatement
from tests.statements.reading import mt940, read


def test_an_entry_date_without_a_year_is_near_the_statement() -> None:
    lines = (":61:2601011230C27,98NMSCNONREF", ":61:2512310102C10,00NMSC")
    found = read("mt940", mt940(*lines, closing="C260102EUR137,98"))
    assert [(line.value_on, line.booked_on) for line in found.lines] == [
        (date(2026, 1, 1), date(2025, 12, 30)),
        (date(2025, 12, 31), date(2026, 1, 2)),
    ]
    assert found.proofs == ["proven"]


def test_an_impossible_day_is_refused_by_number_and_the_rest_is_kept() -> None:
    file = mt940(":61:251230C1,00NMSC", ":61:2602290228C2,00NMSC", ":61:2601010230C3,00NMSC", ":61:251231D4,00NMSC")
    found = read("mt940", file)
    assert found.amounts == [100, -400]
    assert [(one.line, one.position) for one in found.refused] == [(6, 2), (7, 3)]
    assert all("no day of the calendar" in one.cause for one in found.refused)


def test_without_an_entry_date_the_value_date_counts() -> None:
    found = read("mt940", mt940(":61:251230C1,00NMSC", ":61:251230    C2,NMSC"))
    assert [line.booked_on for line in found.lines] == [date(2025, 12, 30)] * 2
    assert found.amounts == [100, 200]


def test_a_reversed_credit_is_a_debit_and_a_reversed_debit_a_credit() -> None:
    found = read("mt940", mt940(":61:251230RC10,00NMSC", ":61:251230RD30,00NMSC", closing="C251230EUR120,00"))
    assert found.amounts == [-1_000, 3_000]
    assert [line.details["reversal"] for line in found.lines] == ["yes", "yes"]
    assert found.proofs == ["proven"]


def test_pages_join_to_one_statement_and_each_page_is_proved() -> None:
    first = mt940(":61:251230C10,00NMSC").replace("-\n", ":62M:C251230EUR110,00\n-\n")
    second = mt940(":61:251230D5,00NMSC", opening="C251230EUR110,00", closing="C251231EUR105,00", page="1/2", kind="M")
    found = read("mt940", first + second)
    assert len(found.heads) == 1
    assert found.proofs == ["proven"]
    assert found.only.page_count == 2
    assert found.only.opening is not None
    assert found.only.closing is not None
    assert (found.only.opening.amount_minor, found.only.closing.amount_minor) == (10_000, 10_500)


def test_a_page_that_does_not_join_the_one_before_it_is_told() -> None:
    first = mt940(":61:251230C10,00NMSC").replace("-\n", ":62M:C251230EUR110,00\n-\n")
    second = mt940(opening="C251230EUR111,00", closing="C251231EUR111,00", page="1/2", kind="M")
    found = read("mt940", first + second)
    assert found.proofs == ["differs"]
    assert ": 1.00 EUR between them" in found.only.differences[0].detail


def test_a_difference_is_told_in_minor_units() -> None:
    found = read("mt940", mt940(":61:251230C10,00NMSC", closing="C251231EUR110,01"))
    assert found.proofs == ["differs"]
    [difference] = found.only.differences
    assert difference.figures["difference_minor"] == 1
    assert found.only.difference_minor == 1


def test_a_statement_in_debit_has_a_negative_balance() -> None:
    file = mt940(":61:251230D10,00NMSC", opening="D251230EUR100,00", closing="D251231EUR110,00")
    found = read("mt940", file)
    assert found.proofs == ["proven"]
    assert found.only.opening is not None
    assert found.only.opening.amount_minor == -10_000


def test_long_malformed_and_binary_texts_cost_no_line() -> None:
    long = [":86:first"] + [f"line {n}" for n in range(2, 14)]
    texts = (":61:251230C2,00NMSC", ":86:?2", ":61:251230C3,00NMSC", ":86:a\x01b\x00c")
    found = read("mt940", mt940(":61:251230C1,00NMSC", *long, *texts))
    assert found.amounts == [100, 200, 300]
    assert found.lines[0].text.endswith("line 13")
    assert found.lines[2].text == "a\ufffdb\ufffdc"


def test_subfields_of_german_banks_are_told_apart() -> None:
    text = ":86:166?00GUTSCHRIFT?20EREF+ORDER-17 ?21SVWZ+Thanks?30BANKDEFF?32Miller?33 Ltd"
    found = read("mt940", mt940(":61:251230C1,00NTRFNONREF//B1", text))
    [line] = found.lines
    assert (line.reference, line.counterparty, line.details["posting"]) == ("ORDER-17", "Miller Ltd", "GUTSCHRIFT")
    assert line.details["bank_reference"] == "B1"


def test_a_file_of_any_encoding_is_read() -> None:
    text = mt940(":61:251230C1,00NMSC", ":86:Müller")
    for encoding in ("utf-8", "cp1252", "utf-8-sig"):
        assert read("mt940", text, encoding=encoding).lines[0].text == "Müller"
    crlf = text.replace("\n", "\r\n")
    assert read("mt940", crlf).lines == read("mt940", text).lines
    swift = "{1:F01BANKDEFFXXXX}{2:I940BANKDEFFXXXXN}{4:\n" + text.replace("\n-\n", "\n-}\n")
    assert read("mt940", swift).amounts == [100]


@pytest.mark.parametrize(
    "field",
    [
        ":61:251230C1.00NMSC",
        ":61:251230C1,234NMSC",
        ":61:251230X1,00NMSC",
        ":61:251230C1,00",
        ":61:251230C1234567890123456,00NMSC",
        ":61:251230C,NMSC",
        ":61:251230C1,2,3NMSC",
        ":61:garbage",
    ],
)
def test_a_line_that_is_not_exact_is_refused(field: str) -> None:
    found = read("mt940", mt940(field, ":61:251230C2,00NMSC"))
    assert found.amounts == [200]
    assert [one.position for one in found.refused] == [1]


def test_lines_without_a_readable_opening_balance_are_refused_with_the_cause() -> None:
    found = read("mt940", mt940(":61:251230C2,00NMSC", opening="C251230XYZ1,00"))
    assert found.lines == []
    assert "XYZ, which is no known currency" in found.refused[1].cause


def test_what_is_no_mt940_is_refused_as_a_whole() -> None:
    with pytest.raises(UnreadableStatement, match="no MT940"):
        read("mt940", "a,b\n1,2\n")


MOVEMENTS = st.lists(st.integers(-(10**12), 10**12), max_size=8)


@given(MOVEMENTS, st.integers(-(10**12), 10**12))
def test_a_written_statement_comes_back_exactly(amounts: list[int], opening: int) -> None:
    def written(amount: int) -> str:
        return f"{abs(amount) // 100},{abs(amount) % 100:02}"

    def balance(amount: int) -> str:
        return f"{'D' if amount < 0 else 'C'}260101EUR{written(amount)}"

    lines = [f":61:260101{'D' if one < 0 else 'C'}{written(one)}NMSCREF" for one in amounts]
    found = read("mt940", mt940(*lines, opening=balance(opening), closing=balance(opening + sum(amounts))))
    assert found.amounts == amounts
    assert found.proofs == ["proven"]


@given(st.lists(st.text(max_size=60), max_size=6))
def test_no_line_makes_the_reader_fail_or_moves_another_amount(garbage: list[str]) -> None:
    clean = [text.replace("\r", " ").replace("\n", " ") for text in garbage]
    found = read("mt940", mt940(":61:251230C1,00NMSC", *(f":61:{text}" for text in clean), ":61:251230C2,00NMSC"))
    assert found.amounts[0] == 100
    assert found.amounts[-1] == 200
    assert len(found.lines) + len(found.refused) == 2 + len(clean)
    assert all(abs(amount) <= MAX_MINOR for amount in found.amounts)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail(content: bytes) -> None:
    assert read("mt940", b":20:X\n:60F:C251230EUR1,00\n" + content).heads
