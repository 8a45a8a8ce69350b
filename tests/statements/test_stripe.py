"""Stripe's reports: gross and fee apart, payouts named, decimals by currency."""

import csv
import json
from datetime import date
from typing import Any

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


def api_object(id: str, amount: Any, fee: Any = 0, *, currency: str = "eur", **more: Any) -> dict[str, Any]:
    """A balance transaction of the API; `net` fits unless it is given."""
    net = amount - fee if isinstance(amount, int) and isinstance(fee, int) else amount
    created = 1_767_311_999  # 2026-01-01 23:59:59 UTC
    fixed = {"object": "balance_transaction", "type": "charge", "created": created, "available_on": created + 1}
    return {**fixed, "id": id, "amount": amount, "fee": fee, "net": net, "currency": currency, **more}


@pytest.mark.parametrize("is_list", [True, False])
def test_objects_of_the_api_say_the_same_as_reports(is_list: bool) -> None:
    objects = [
        api_object("a", 10_413, 337, source="ch_1", description="d"),
        api_object("p", -7_557, type="payout", source={"id": "po_1", "object": "payout"}),
    ]
    lines = "\n".join(json.dumps(one) for one in objects)
    found = read("stripe", json.dumps({"object": "list", "data": objects}, indent=2) if is_list else lines)
    assert [(line.line_id, line.amount_minor, line.kind, line.batch_id) for line in found.lines] == [
        ("a", 10_413, "charge", ""),
        ("a/fee", -337, "fee", ""),
        ("p", -7_557, "payout", "po_1"),
    ]
    assert (found.lines[0].booked_on, found.lines[0].value_on) == (date(2026, 1, 1), date(2026, 1, 2))


@pytest.mark.parametrize(
    ("currency", "amount", "expected"),
    [
        *(("jpy", 500, 500), ("kwd", 1_234, 1_234), ("bhd", 1_230, 1_230), ("clp", 500, 500), ("eur", 500, 500)),
        *(("isk", 50_000, 500), ("ugx", 50_000, 500), ("huf", 1_045, 1_045), ("twd", 80_000, 80_000)),
        *(("mga", 500, 50_000), ("isk", 50_050, None), ("ugx", 1, None), ("xyz", 1, None)),
        *(("eur", 1.5, None), ("eur", "5", None), ("eur", None, None), ("eur", True, None), ("eur", 2**60, None)),
    ],
)
def test_the_minor_units_of_the_api_are_converted_where_they_fit_and_refused_where_they_do_not(
    currency: str, amount: Any, expected: int | None
) -> None:
    objects = [api_object("a", amount, currency=currency), api_object("b", 7, currency="usd")]
    found = read("stripe", "\n".join(json.dumps(one) for one in objects))
    assert found.amounts == [*([] if expected is None else [expected]), 7]
    assert [one.position for one in found.refused] == ([1] if expected is None else [])


def test_a_line_that_is_no_object_costs_itself_only() -> None:
    good = json.dumps(api_object("a", 1))
    found = read("stripe", "\n".join([good, "{", "[]", '{"object": "charge"}', '{"amount": NaN}', "", good]))
    assert found.amounts == [1, 1]
    assert [(one.line, one.position) for one in found.refused] == [(2, 2), (3, 3), (4, 4), (5, 5)]


@pytest.mark.parametrize("content", ["{", "[", '{"object": "list"}', "[" * 100_000, '{"object": "list", "data": {}}'])
def test_json_that_is_no_list_of_balance_transactions_is_refused_as_a_whole(content: str) -> None:
    with pytest.raises(UnreadableStatement):
        read("stripe", content)


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
