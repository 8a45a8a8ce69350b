"""OFX: what is known to go wrong with it, and how it is read."""

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statement import UnreadableStatement
from tests.statements.reading import ofx, ofx_transaction, read

XML = """<?xml version="1.0" encoding="UTF-8"?>
<?OFX OFXHEADER="200" VERSION="200" SECURITY="NONE" OLDFILEUID="NONE" NEWFILEUID="NONE"?>
<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>AUD</CURDEF>
<BANKACCTFROM><BANKID>B</BANKID><ACCTID>1</ACCTID></BANKACCTFROM><BANKTRANLIST>
<STMTTRN><TRNTYPE>DEBIT</TRNTYPE><DTPOSTED>20131215</DTPOSTED><TRNAMT>-16.85</TRNAMT><FITID>1</FITID>
<NAME><![CDATA[A & B <c>]]></NAME><MEMO><![CDATA[one]]></MEMO></STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>1234.12</BALAMT><DTASOF>20131215</DTASOF></LEDGERBAL>
</STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""


def test_xml_is_read_with_its_texts() -> None:
    found = read("ofx", XML)
    [line] = found.lines
    assert (line.amount_minor, line.booked_on, line.line_id) == (-1_685, date(2013, 12, 15), "1")
    assert (line.counterparty, line.text) == ("A & B <c>", "one")
    assert found.heads[0].account_ref == "B/1"


def test_without_an_opening_balance_nothing_is_proven_and_the_statement_says_so() -> None:
    found = read("ofx", XML)
    assert found.proofs == ["not_provable"]
    assert "no opening balance" in found.only.missing
    assert found.only.closing is not None
    assert found.only.closing.amount_minor == 123_412


def test_sgml_needs_no_end_tags_and_no_line_breaks() -> None:
    file = ofx(ofx_transaction("-1.50", "A"), ofx_transaction("+5", "B"), ofx_transaction(".5", "C"))
    expected = [(-150, "A", "m"), (500, "B", "m"), (50, "C", "m")]
    header, body = file.split("\n\n", 1)
    for variant in (file, f"{header}\n\n{body.replace(chr(10), '')}", file.replace("</STMTTRN>", "")):
        assert [(line.amount_minor, line.line_id, line.text) for line in read("ofx", variant).lines] == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [("-8.95000", -895), ("-200,00", -20_000), ("1.400,82", 140_082), ("1,400.82", 140_082), ("-110.7", -11_070)],
)
def test_amounts_as_banks_write_them(written: str, expected: int) -> None:
    assert read("ofx", ofx(ofx_transaction(written, "A"))).amounts == [expected]


@pytest.mark.parametrize("written", ["12.345", "", "1e2", "abc", "1.23.4", "NaN", "12.3456"])
def test_an_amount_that_may_be_two_is_refused_and_the_rest_is_kept(written: str) -> None:
    found = read("ofx", ofx(ofx_transaction("1.00", "A"), ofx_transaction(written, "B"), ofx_transaction("2.00", "C")))
    assert found.amounts == [100, 200]
    assert [(one.position, one.statement) for one in found.refused] == [(2, 1)]


def test_the_day_is_the_one_that_the_bank_wrote() -> None:
    days = ("20150706000000[-3:GMT]", "20240323", "20240323235959[-11:SST]")
    found = read("ofx", ofx(*(ofx_transaction("1", str(n), day=day) for n, day in enumerate(days))))
    assert [line.booked_on for line in found.lines] == [date(2015, 7, 6), date(2024, 3, 23), date(2024, 3, 23)]
    refused = read("ofx", ofx(ofx_transaction("1", "A", day="20240230"), ofx_transaction("1", "B", day="")))
    assert len(refused.refused) == 2


def test_the_day_is_the_same_on_a_server_in_new_york(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ofx(ofx_transaction("1", "A", day="20150706000000[-3:GMT]"))
    at_home = read("ofx", file).lines
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert read("ofx", file).lines == at_home
    time.tzset()


def test_a_byte_that_is_not_in_the_encoding_costs_its_line_only() -> None:
    header = "OFXHEADER:100\nENCODING:UTF-8\nCHARSET:NONE\n\n"
    body = ofx(ofx_transaction("1.00", "A", memo="Müller"), ofx_transaction("2.00", "B")).split("\n\n", 1)[1]
    content = (header + body).encode("cp1252")
    found = read("ofx", content)
    assert found.amounts == [200]
    assert "0xFC" in found.refused[0].cause
    assert [line.text for line in read("ofx", content, options={"encoding": "cp1252"}).lines] == ["Müller", "m"]


def test_equal_rows_with_other_ids_or_none_are_lines_of_their_own() -> None:
    rows = [ofx_transaction("1.00", name) for name in ("A", "B", "", "")]
    assert [line.line_id for line in read("ofx", ofx(*rows)).lines] == ["A", "B", "", ""]
    ignoring = read("ofx", ofx(*rows), ignores_ids=True)
    assert {line.line_id for line in ignoring.lines} == {""}


def test_an_amount_in_another_currency_or_given_twice_is_refused() -> None:
    other = ofx_transaction("1.00", "A").replace("<MEMO>", "<CURRENCY><CURRATE>1.1<CURSYM>USD</CURRENCY><MEMO>")
    converted = ofx_transaction("1.00", "B").replace("<MEMO>", "<ORIGCURRENCY><CURSYM>USD</ORIGCURRENCY><MEMO>")
    twice = ofx_transaction("1.00", "C").replace("<MEMO>", "<TRNAMT>2.00\n<MEMO>")
    found = read("ofx", ofx(other, converted, twice))
    assert [line.line_id for line in found.lines] == ["B"]
    assert ["USD" in found.refused[0].cause, "twice" in found.refused[1].cause] == [True, True]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("a,b\n1,2\n", "no <OFX>"),
        (ofx(ofx_transaction("1.00", "A"))[:-20], "ends before"),
        (ofx(ofx_transaction("1.00", "A"), currency="XXY"), "unknown"),
    ],
)
def test_a_file_that_is_none_or_cut_off_is_refused_as_a_whole(content: str, cause: str) -> None:
    with pytest.raises(UnreadableStatement, match=cause):
        read("ofx", content)


@given(st.lists(st.integers(-(10**13), 10**13), max_size=8))
def test_a_written_statement_comes_back_exactly(amounts: list[int]) -> None:
    rows = [
        ofx_transaction(f"{'-' if one < 0 else ''}{abs(one) // 100}.{abs(one) % 100:02}", str(n))
        for n, one in enumerate(amounts)
    ]
    assert read("ofx", ofx(*rows)).amounts == amounts


@given(st.text(max_size=40))
def test_no_value_makes_the_reader_fail_or_moves_another_amount(text: str) -> None:
    file = ofx(ofx_transaction("1.00", "A"), ofx_transaction(text.replace("<", ""), "B"), ofx_transaction("2.00", "C"))
    found = read("ofx", file, encoding="utf-8", options={"encoding": "utf-8"}) if text.isprintable() else None
    if found is not None:
        assert (found.amounts[0], found.amounts[-1]) == (100, 200)
        assert len(found.lines) + len(found.refused) == 3


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(content: bytes) -> None:
    file = ofx(ofx_transaction("1.00", "A"), ofx_transaction("HERE", "B")).encode()
    try:
        found = read("ofx", file.replace(b"HERE", content))
    except UnreadableStatement:
        return
    assert found.amounts[0] == 100
