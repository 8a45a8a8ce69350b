"""Stripe's reports: gross and fee apart, payouts named, decimals by currency."""

import csv
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statement import UnreadableStatement
from tests.statements.reading import STRIPE_HEADER, read, stripe, stripe_row

PAYOUT = stripe(
    stripe_row("txn_1", "payout", "-75,57", payout="po_1"),
    stripe_row("txn_2", "charge", "104,13", "3,37", "100,76", payout="po_1"),
    stripe_row("txn_3", "reserved_funds", "25,19"),
    stripe_row("txn_4", "reserved_funds", "-25,19", payout="po_1"),
)


def test_gross_and_fee_are_lines_apart_and_name_their_payout() -> None:
    found = read("stripe", PAYOUT)
    assert [(line.line_id, line.kind, line.amount_minor, line.batch_id) for line in found.lines] == [
        ("txn_1", "payout", -7_557, "po_1"),
        ("txn_2", "charge", 10_413, "po_1"),
        ("txn_2/fee", "fee", -337, "po_1"),
        ("txn_3", "reserved_funds", 2_519, ""),
        ("txn_4", "reserved_funds", -2_519, "po_1"),
    ]
    assert sum(line.amount_minor for line in found.lines if line.batch_id == "po_1") == 0
    assert (found.lines[0].booked_on, found.lines[0].value_on) == (date(2026, 1, 2), date(2026, 1, 9))


def test_semicolons_and_points_say_the_same() -> None:
    rows = PAYOUT.splitlines()
    spreadsheet = "\n".join([rows[0].replace(",", ";"), *(";".join(_cells(row)) for row in rows[1:])])
    assert read("stripe", spreadsheet).amounts == read("stripe", PAYOUT).amounts
    assert read("stripe", spreadsheet.replace("75,57", "75.57")).amounts == read("stripe", PAYOUT).amounts


def _cells(row: str) -> list[str]:
    return next(csv.reader([row]))


@pytest.mark.parametrize(
    ("currency", "written", "expected"),
    [
        *(("jpy", "500", 500), ("kwd", "1.234", 1_234), ("bhd", "1.230", 1_230), ("clp", "500", 500)),
        *(("isk", "500.00", 500), ("ugx", "500.00", 500), ("huf", "10.45", 1_045), ("twd", "800.00", 80_000)),
        *(("isk", "500.50", None), ("jpy", "500.5", None), ("kwd", "1.2345", None), ("usd", "12.345", None)),
        ("xyz", "1.00", None),
    ],
)
def test_decimals_are_those_of_the_currency_and_nothing_is_multiplied(
    currency: str, written: str, expected: int | None
) -> None:
    found = read("stripe", stripe(stripe_row("txn_1", "charge", written, "0", currency=currency)))
    assert found.amounts == ([] if expected is None else [expected])
    assert len(found.refused) == (expected is None)


def test_each_currency_is_a_statement_of_its_own() -> None:
    rows = [stripe_row("a", "charge", "1.00"), stripe_row("b", "charge", "500", "0", currency="jpy")]
    found = read("stripe", stripe(*rows, stripe_row("c", "charge", "2.00")))
    assert [(head.currency_code, head.number) for head in found.heads] == [("EUR", 1), ("JPY", 2)]
    assert [(line.statement, line.amount_minor) for line in found.lines] == [(1, 100), (2, 500), (1, 200)]


def test_gross_minus_fee_must_be_net() -> None:
    rows = [stripe_row("a", "charge", "1.00", "0.10", "0.89"), stripe_row("b", "charge", "2.00")]
    found = read("stripe", stripe(*rows))
    assert found.amounts == [200]
    assert (found.refused[0].line, found.refused[0].position) == (2, 1)


def test_an_unknown_category_is_a_line_with_that_name() -> None:
    assert read("stripe", stripe(stripe_row("a", "climate_wish", "-1.00"))).lines[0].kind == "climate_wish"


def test_what_the_customer_was_shown_moves_nothing() -> None:
    header = STRIPE_HEADER + ",Customer Facing Amount,Customer Facing Currency"
    shown = stripe_row("a", "charge", "90.00") + ',"100.00",usd'
    same = stripe_row("b", "charge", "5.00") + ',"5.00",eur'
    found = read("stripe", stripe(shown, same, header=header))
    assert found.amounts == [9_000, 500]
    assert [dict(line.details) for line in found.lines] == [{"customer_facing": "USD 100.00"}, {}]


@pytest.mark.parametrize(
    "header",
    [
        "balance_transaction_id,created_utc,created,available_on_utc,available_on,currency,gross,fee,net,"
        "reporting_category,source_id,description",
        "automatic_payout_id,automatic_payout_effective_at_utc,automatic_payout_effective_at,balance_transaction_id,"
        "created_utc,created,currency,gross,fee,net,reporting_category,source_id,description",
    ],
)
def test_the_itemised_reports_are_read_too(header: str) -> None:
    values = {
        "balance_transaction_id": "txn_1",
        "created_utc": "2026-01-02 23:59:59",
        "created": "2026-01-03 00:59:59",
        "currency": "eur",
        "gross": "10.00",
        "fee": "0.30",
        "net": "9.70",
        "reporting_category": "charge",
        "automatic_payout_id": "po_1",
    }
    row = ",".join(values.get(name, "") for name in header.split(","))
    found = read("stripe", stripe(row, header=header))
    assert found.amounts == [1_000, -30]
    assert {line.booked_on for line in found.lines} == {date(2026, 1, 2)}
    assert {line.batch_id for line in found.lines} == ({"po_1"} if "automatic_payout_id" in header else {""})


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", STRIPE_HEADER.replace("Fee,", "")])
def test_what_is_no_report_is_refused_as_a_whole(content: str) -> None:
    with pytest.raises(UnreadableStatement, match="no itemised report"):
        read("stripe", content)


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6)), max_size=8))
def test_a_written_report_comes_back_exactly(rows: list[tuple[int, int]]) -> None:
    def written(amount: int) -> str:
        return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02}"

    file = [
        stripe_row(str(n), "charge", written(gross), written(fee), written(gross - fee))
        for n, (gross, fee) in enumerate(rows)
    ]
    found = read("stripe", stripe(*file))
    assert sum(found.amounts) == sum(gross - fee for gross, fee in rows)
    assert not found.refused


@given(st.text(max_size=40))
def test_no_value_makes_the_reader_fail_or_moves_another_amount(text: str) -> None:
    try:
        found = read("stripe", stripe(stripe_row("a", "x", "1.00"), f"b,{text}", stripe_row("c", "x", "2.00")))
    except (UnreadableStatement, UnicodeEncodeError):
        return
    assert found.amounts[0] == 100
