"""Files of movements: what is read and refused, and the waves of movements that may be sent at once."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bank_file import COLUMNS, REMARKS, Movement, read_movements, waves, without_reused
from app.domain.csv_file import MalformedFile
from app.domain.money import MAX_MINOR
from app.domain.refusals import RefusalCode

movements = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40).map(
    lambda rows: [
        Movement(str(number), account, datetime(1993, 1, 1, tzinfo=UTC), is_credit, 1, {})
        for number, (account, is_credit) in enumerate(rows)
    ]
)


@given(movements, st.integers(1, 50))
def test_each_movement_is_in_one_wave_and_each_account_keeps_its_order(file: list[Movement], window: int) -> None:
    sent = [movement for wave in waves(file, window) for movement in sorted(wave, key=lambda one: one.is_credit)]
    for account in "abc":
        of_account = [movement for movement in file if movement.account_id == account]
        for is_credit in (True, False):
            same_way = [one for one in of_account if one.is_credit == is_credit]
            assert [one for one in sent if one.account_id == account and one.is_credit == is_credit] == same_way
    assert len(sent) == len(file)


@given(movements, st.integers(1, 50))
def test_a_debit_sees_the_credits_before_it_and_none_after_it(file: list[Movement], window: int) -> None:
    outbox_position = {movement.transaction_id: number for number, movement in enumerate(file)}
    wave_of = {one.transaction_id: number for number, wave in enumerate(waves(file, window)) for one in wave}
    for wave in waves(file, window):
        assert wave == sorted(wave, key=lambda one: one.is_credit), "the debits go first"
        assert 0 < len(wave) <= window
    for debit in (one for one in file if not one.is_credit):
        for credit in (one for one in file if one.is_credit and one.account_id == debit.account_id):
            is_before = outbox_position[credit.transaction_id] < outbox_position[debit.transaction_id]
            is_posted = wave_of[credit.transaction_id] < wave_of[debit.transaction_id]
            assert is_posted == is_before


def test_an_account_that_alternates_does_not_delay_movements_of_others() -> None:
    rows = [("a", True), ("b", True), ("a", False), ("c", True), ("a", True), ("b", False), ("c", False)]
    file = [
        Movement(account + str(number), account, datetime(1993, 1, 1, tzinfo=UTC), is_credit, 1, {})
        for number, (account, is_credit) in enumerate(rows)
    ]
    found = [[one.transaction_id for one in wave] for wave in waves(file, 100)]
    assert found == [["a0", "b1", "c3"], ["a2", "b5", "c6", "a4"]]


# Reading

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEADER = ",".join(COLUMNS)


def read(*lines: str, header: str = HEADER) -> list[Movement]:
    return list(read_movements(BytesIO("\n".join([header, *lines]).encode()), NOW))


def complaint(*lines: str, header: str = HEADER) -> str:
    with pytest.raises(MalformedFile) as refused:
        read(*lines, header=header)
    return str(refused.value)


def test_a_movement_is_read_with_its_remarks_and_its_line() -> None:
    header = ",".join(reversed(COLUMNS + REMARKS))
    [movement] = read("", ',,"rent, heat",transfer,70000,debit,1993-01-02,2378,695247', header=header)
    assert movement == Movement(
        "695247", "2378", datetime(1993, 1, 2, tzinfo=UTC), False, 70_000,
        {"operation": "transfer", "purpose": "rent, heat"},
    )  # fmt: skip
    assert movement.line == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1993-01-01", datetime(1993, 1, 1, tzinfo=UTC)),
        ("1993-01-01T00:30:00+02:00", datetime(1992, 12, 31, 22, 30, tzinfo=UTC)),
        ("1993-01-01T23:59:59.9999999Z", datetime(1993, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2026-01-31T14:00:30+02:00", NOW + timedelta(seconds=30)),
    ],
)
def test_a_date_is_a_day_in_utc_or_a_time_with_its_offset(text: str, expected: datetime) -> None:
    assert read(f"1,1,{text},credit,5")[0].booked_at == expected


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (",1,1993-01-01,credit,5", "transaction_id is missing"),
        ("1,,1993-01-01,credit,5", "account_id is missing"),
        ("1,1,,credit,5", "date is missing"),
        ("1,1,1993-01-01,,5", "direction is missing"),
        ("1,1,1993-01-01,credit,", "amount_minor is missing"),
        (" 1,1,1993-01-01,credit,5", "transaction_id must have"),
        ("cafe\u0301,1,1993-01-01,credit,5", "Normalization Form C"),
        ("x" * 129 + ",1,1993-01-01,credit,5", "transaction_id must have"),
        ("1,a\u200bb,1993-01-01,credit,5", "account_id must have"),
        ("1,a//b,1993-01-01,credit,5", "segment"),
        ("1,a/balance,1993-01-01,credit,5", "must not end in"),
        ("1,1,1993-01-01,Credit,5", "direction must be credit or debit, not 'Credit'"),
        ("1,1,1993-01-01,credit,0", "greater than zero"),
        ("1,1,1993-01-01,credit,-5", "greater than zero"),
        ("1,1,1993-01-01,credit,1.0", "whole number"),
        ("1,1,1993-01-01,credit,1e3", "whole number"),
        ("1,1,1993-01-01,credit,007", "whole number"),
        ("1,1,1993-01-01,credit,+5", "whole number"),
        ("1,1,1993-01-01,credit, 5", "whole number"),
        ("1,1,1993-01-01,credit,1_000", "whole number"),
        ("1,1,1993-01-01,credit,٥", "whole number"),
        ('1,1,1993-01-01,credit,"1,000"', "whole number of minor units, not '1,000'"),
        (f"1,1,1993-01-01,credit,{MAX_MINOR + 1}", "above"),
        ("1,1,1993-01-01,credit," + "9" * 5_000, "above"),
        ("1,1,1993-01-01,credit,1,000", "6 values where the header has 5 columns"),
        ("1,1,1993-01-01,credit", "4 values"),
        ("1,1,1993-01-01,credit,5,", "6 values"),
        (" ", "1 values"),
        ("1,1,1993-01-01T09:30:00,credit,5", "needs an offset"),
        ("1,1,1993-02-30,credit,5", "date is not a time"),
        ("1,1,19930101,credit,5", "RFC 3339, e.g."),
        ("1,1,1993-W01-1,credit,5", "RFC 3339"),
        ("1,1,01/02/1993,credit,5", "'01/02/1993'"),
        ("1,1,2026-02-01,credit,5", "lies in the future"),
        ("1,1,2026-01-31T12:01:01Z,credit,5", "lies in the future"),
    ],
)
def test_a_movement_that_breaks_a_rule_is_refused_by_its_line(row: str, cause: str) -> None:
    said = complaint("ok,1,1993-01-01,credit,5", row)
    assert said.startswith("line 3: ")
    assert cause in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("", "empty"),
        (HEADER.replace(",", ";"), "separated by ';'; a comma is expected"),
        (HEADER.replace(",", "\t"), "a comma is expected"),
        (HEADER + ",amount_minor", "amount_minor more than once"),
        (HEADER + ",purpose,purpose", "purpose more than once"),
        (HEADER.replace("date", "day"), "lacks date"),
        (HEADER.replace("date", "Date"), "lacks date"),
        (HEADER + ",currency", "unknown columns: 'currency'"),
        (HEADER + ",", "unknown columns"),
    ],
)
def test_an_ambiguous_header_is_refused(header: str, cause: str) -> None:
    said = complaint(header=header)
    assert said.startswith("line 1: ")
    assert cause in said


def test_remarks_are_bounded_as_metadata_is() -> None:
    assert "more than 16 KiB" in complaint("1,1,1993-01-01,credit,5," + "x" * 16_384, header=HEADER + ",purpose")


def test_the_line_is_the_physical_one_after_line_breaks_in_quotes() -> None:
    header = HEADER + ",purpose"
    good = '{},1,1993-01-01,credit,5,"rent\nand\r\nheat"'
    found = read(good.format(1), "", good.format(2), header=header)
    assert [(one.line, one.remarks["purpose"]) for one in found] == [(2, "rent\nand\r\nheat"), (6, "rent\nand\r\nheat")]
    assert complaint(good.format(1), "2,1,1993-01-01,credit,0,", header=header).startswith("line 5: ")


@pytest.mark.parametrize("between", [[], ["2,1,1993-01-02,debit,7,"]])
def test_a_row_is_not_swallowed_between_a_quote_that_is_not_closed_and_a_stray_one(between: list[str]) -> None:
    rows = ['1,1,1993-01-01,credit,5,"rent', *between, '3,1,1993-01-03,debit,7,5"']
    said = complaint("0,1,1993-01-01,credit,5,", *rows, header=HEADER + ",purpose")
    assert said.startswith("line 3: ")
    assert "another movement" in said
    assert len(read('1,1,1993-01-01,credit,5,"rent\na, b, c, d, e"', header=HEADER + ",purpose")) == 1


def test_the_same_movement_again_is_sent_and_another_under_its_id_is_refused_by_its_line() -> None:
    first, other = "1,a,1993-01-01,credit,5", "2,a,1993-01-01,debit,5"
    rows = [first, other, first, "1,a,1993-01-01,debit,5", "1,b,1993-01-01,credit,5", "1,a,1993-01-01,credit,6", first]
    to_send, refused = without_reused(read(*rows))
    assert [one.line for one in to_send] == [2, 3, 4, 8]
    assert [one.line for one, _ in refused] == [5, 6, 7]
    for _, refusal in refused:
        assert refusal.code is RefusalCode.EXTERNAL_ID_REUSED
        assert "line 2" in refusal.detail
