"""CAMT: what is known to go wrong with it, and how it is read."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statement import UnreadableStatement
from tests.statements.reading import camt, camt_document, camt_entry, camt_statement, read


def detail(amount: str, *, currency: str = "EUR", ref: str = "E1", name: str = "Miller", more: str = "") -> str:
    return (
        f"<TxDtls><Refs><EndToEndId>{ref}</EndToEndId></Refs><Amt Ccy='{currency}'>{amount}</Amt>{more}"
        f"<RltdPties><Dbtr><Nm>{name}</Nm></Dbtr></RltdPties></TxDtls>"
    )


def details(*parts: str) -> str:
    return f"<NtryDtls>{''.join(parts)}</NtryDtls>"


def test_details_that_add_up_are_the_lines_of_an_entry() -> None:
    more = details(detail("2187.00", ref="A"), detail("1296.00", ref="B"))
    found = read("camt", camt(camt_entry("3483.00", ref="S-1", more=more)))
    assert found.amounts == [218_700, 129_600]
    assert [line.reference for line in found.lines] == ["A", "B"]
    assert [line.line_id for line in found.lines] == ["S-1/1", "S-1/2"]
    assert {line.batch_id for line in found.lines} == {"S-1"}


def test_what_details_leave_over_is_a_line_of_its_own() -> None:
    charges = "<Chrgs><TtlChrgsAndTaxAmt Ccy='EUR'>26.00</TtlChrgsAndTaxAmt></Chrgs>"
    found = read("camt", camt(camt_entry("1526.00", more=charges + details(detail("1500.00")))))
    assert [(line.amount_minor, line.kind) for line in found.lines] == [(150_000, ""), (2_600, "fee")]
    taken_off = read("camt", camt(camt_entry("1474.00", more=charges + details(detail("1500.00")))))
    assert [(line.amount_minor, line.kind) for line in taken_off.lines] == [(150_000, ""), (-2_600, "fee")]
    unnamed = read("camt", camt(camt_entry("1526.00", more=details(detail("1500.00")))))
    assert [(line.amount_minor, line.kind) for line in unnamed.lines] == [(150_000, ""), (2_600, "remainder")]


@pytest.mark.parametrize(
    "more",
    [
        details("<TxDtls><Refs><EndToEndId>A</EndToEndId></Refs></TxDtls>", detail("5.00")),
        details(detail("3.00", currency="CHF"), detail("7.00")),
        details(detail("0"), detail("10.00")),
        details(detail("1.23456"), detail("10.00")),
    ],
)
def test_where_details_do_not_tell_all_amounts_the_entry_is_one_line(more: str) -> None:
    assert read("camt", camt(camt_entry("10.00", more=more))).amounts == [1_000]


def test_a_foreign_amount_moves_nothing() -> None:
    instructed = "<AmtDtls><InstdAmt><Amt Ccy='EUR'>10000</Amt></InstdAmt></AmtDtls>"
    more = details(detail("10935.50", currency="CHF", more=instructed))
    found = read("camt", camt(camt_entry("10935.50", currency="CHF", more=more), currency="CHF"))
    assert found.amounts == [1_093_550]
    assert found.lines[0].details["instructed"] == "EUR 10000"
    refused = read("camt", camt(camt_entry("10000", currency="EUR"), currency="CHF"))
    assert "the account in CHF" in refused.refused[0].cause


@pytest.mark.parametrize(("inverts", "expected"), [(False, [500, -200]), (True, [-500, 200])])
def test_the_rule_of_reversals_can_be_set_and_a_wrong_one_is_caught_by_the_proof(
    inverts: bool, expected: list[int]
) -> None:
    mark = "<RvslInd>true</RvslInd>"
    entries = [camt_entry("5.00", "CRDT", more=mark), camt_entry("2.00", "DBIT", more=mark)]
    balances = [("OPBD", "CRDT", "10.00"), ("CLBD", "CRDT", "13.00")]
    found = read("camt", camt(*entries, balances=balances), inverts_reversals=inverts)
    assert found.amounts == expected
    assert found.proofs == ["differs" if inverts else "proven"]


def test_the_proof_uses_the_booked_balances_among_all_others() -> None:
    codes = ("OPAV", "CLAV", "FWAV", "ITBD", "ITAV", "XPCD", "INFO", "OTHR")
    others = [(code, "DBIT", f"{n}.00") for n, code in enumerate(codes, start=50)]
    booked = [("OPBD", "CRDT", "18.15"), ("CLBD", "CRDT", "27.00")]
    opened = read("camt", camt(camt_entry("8.85"), balances=[*others, *booked]))
    assert opened.proofs == ["proven"]
    former = read("camt", camt(camt_entry("8.85"), balances=[("PRCD", "DBIT", "1.00"), ("CLBD", "CRDT", "7.85")]))
    assert former.proofs == ["proven"]
    without = read("camt", camt(camt_entry("8.85"), balances=others))
    assert without.proofs == ["not_provable"]
    assert "no opening balance" in without.only.missing


def test_a_closing_balance_in_another_currency_proves_nothing_and_says_so() -> None:
    document = camt(camt_entry("8.85"), balances=[("OPBD", "CRDT", "18.15"), ("CLBD", "DBIT", "27.00")])
    document = document.replace("<Amt Ccy='EUR'>27.00", "<Amt Ccy='SEK'>27.00").replace("<Ccy>EUR</Ccy>", "")
    found = read("camt", document)
    assert found.proofs == ["not_provable"]
    assert "'SEK'" in found.only.missing


def test_several_statements_and_one_without_entries() -> None:
    statements = [
        camt_statement(camt_entry("1.00"), id="A"),
        camt_statement(balances=[("OPBD", "CRDT", "3.00"), ("CLBD", "CRDT", "3.00")], id="B"),
        camt_statement(camt_entry("2.00", "DBIT"), id="C"),
    ]
    found = read("camt", camt_document(*statements))
    assert [head.name for head in found.heads] == ["A", "B", "C"]
    assert found.amounts == [100, -200]
    assert found.proofs == ["not_provable", "proven", "not_provable"]


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (camt_entry("1.00001"), "decimals"),
        (camt_entry("-1.00"), "CdtDbtInd"),
        (camt_entry("1.00", "CREDIT"), "CRDT or DBIT"),
        (camt_entry("1.00", day="<Dt>2026-02-30</Dt>"), "calendar"),
        (camt_entry("1.00", day=""), "no date"),
        (camt_entry("1.00", status=""), "status"),
        (camt_entry("1,00"), "not a number"),
        (camt_entry("ten"), "not a number"),
    ],
)
def test_a_bad_entry_is_refused_by_line_and_position_and_the_rest_is_kept(entry: str, cause: str) -> None:
    found = read("camt", camt(camt_entry("1.00"), entry, camt_entry("2.50000", "DBIT")))
    assert found.amounts == [100, -250]
    [refused] = found.refused
    assert refused.position == 2
    assert refused.line > 0
    assert cause in refused.cause


@pytest.mark.parametrize("within", ["<!-- a comment -->", "<?an instruction?>"])
def test_what_stands_within_a_value_does_not_cut_it_in_two(within: str) -> None:
    balances = [("OPBD", "CRDT", "0.00"), ("CLBD", "CRDT", f"11{within}0.00")]
    more = details(detail(f"10{within}0.00", name=f"Mil{within}ler"), detail("10.00"))
    found = read("camt", camt(camt_entry(f"11{within}0.00", ref=f"S{within}1", more=more), balances=balances))
    assert [(line.amount_minor, line.line_id) for line in found.lines] == [(10_000, "S1/1"), (1_000, "S1/2")]
    assert found.lines[0].counterparty == "Miller"
    assert found.proofs == ["proven"]


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (camt_entry("10<b/>0.00"), "has elements in it"),
        (camt_entry("10.00", more="<Amt Ccy='EUR'>100.00</Amt>"), "more than one amount"),
        (camt_entry("10.00", more="<CdtDbtInd>DBIT</CdtDbtInd>"), "not 'CRDT and DBIT'"),
        (camt_entry("1.00", more=details(detail("90071992547409.91"), detail("90071992547409.91"))), "out of range"),
    ],
)
def test_an_entry_that_says_two_things_is_refused(entry: str, cause: str) -> None:
    found = read("camt", camt(entry, camt_entry("5.00")))
    assert found.amounts == [500]
    assert cause in found.refused[0].cause


def test_pending_and_informational_entries_move_nothing() -> None:
    entries = [camt_entry("1.00", status=f"<Cd>{code}</Cd>") for code in ("PDNG", "INFO", "BOOK")]
    found = read("camt", camt(*entries))
    assert found.amounts == [100]
    assert found.not_booked == 2


VERSIONS = ["053.001.02", "053.001.03", "053.001.04", "053.001.06", "053.001.08", "052.001.02"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read(version: str) -> None:
    status = "BOOK" if version < "053.001.07" or version.startswith("052") else "<Cd>BOOK</Cd>"
    document = camt(camt_entry("1.00", status=status, day="<DtTm>2026-01-02T23:30:00-05:00</DtTm>"), version=version)
    if version.startswith("052"):
        document = document.replace("BkToCstmrStmt", "BkToCstmrAcctRpt").replace("Stmt>", "Rpt>")
    [line] = read("camt", document).lines
    assert (line.amount_minor, line.booked_on) == (100, date(2026, 1, 2))


def test_a_prefix_or_no_namespace_changes_nothing() -> None:
    plain = camt(camt_entry("1.00")).replace(' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"', "")
    assert read("camt", plain).amounts == [100]


def test_entities_and_document_types_are_refused() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<Document>'
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<Document>'
    for kind in (bomb, outside):
        document = camt(camt_entry("1.00", ref="&a;")).replace("<Document", kind.replace("<Document>", "<Document"), 1)
        with pytest.raises(UnreadableStatement, match="document type"):
            read("camt", document)


def test_cut_off_and_wrongly_encoded_files_are_refused_with_the_line() -> None:
    document = camt(camt_entry("1.00"), camt_entry("2.00", ref="Müller"))
    with pytest.raises(UnreadableStatement, match=r"line \d+: the XML is not well-formed"):
        read("camt", document[: len(document) // 2])
    with pytest.raises(UnreadableStatement, match="line 5"):
        read("camt", document, encoding="cp1252")
    with pytest.raises(UnreadableStatement, match="no statement"):
        read("camt", "<Document/>")


def test_a_source_may_say_the_encoding() -> None:
    content = camt(camt_entry("2.00", ref="Müller")).encode("cp1252")
    [line] = read("camt", content, options={"encoding": "cp1252"}).lines
    assert line.line_id == "Müller"


@given(st.lists(st.integers(-(10**13), 10**13), max_size=8), st.integers(-(10**13), 10**13))
def test_a_written_statement_comes_back_exactly(amounts: list[int], opening: int) -> None:
    def written(amount: int) -> str:
        return f"{abs(amount) // 100}.{abs(amount) % 100:02}"

    def mark(amount: int) -> str:
        return "DBIT" if amount < 0 else "CRDT"

    closing = opening + sum(amounts)
    balances = [("OPBD", mark(opening), written(opening)), ("CLBD", mark(closing), written(closing))]
    found = read("camt", camt(*(camt_entry(written(one), mark(one)) for one in amounts), balances=balances))
    assert found.amounts == amounts
    assert found.proofs == ["proven"]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=5), st.integers(-(10**6), 10**6))
def test_the_lines_of_an_entry_always_add_up_to_the_entry(parts: list[int], rest: int) -> None:
    total = max(sum(parts) + rest, 0)
    more = details(*(detail(f"{part / 1:.0f}.00") for part in parts))
    found = read("camt", camt(camt_entry(f"{total}.00", more=more)))
    assert sum(found.amounts) == total * 100


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(content: bytes) -> None:
    document = camt(camt_entry("1.00"), camt_entry("2.00")).encode()
    try:
        found = read("camt", document.replace(b"2.00", content))
    except UnreadableStatement:
        return
    assert found.amounts[0] == 100


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="<&"), max_size=30))
def test_no_amount_is_a_surprise(text: str) -> None:
    found = read("camt", camt(camt_entry(text), camt_entry("2.00")))
    assert found.amounts[-1] == 200
    assert len(found.lines) + len(found.refused) == 2
