"""Amounts are exact or refused, and days are the bank's."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MAX_MINOR
from app.statements.amounts import InexactAmount, from_other_scale, minor
from app.statements.dates import InvalidDay, compact_day, iso_day, nearest_day


@pytest.mark.parametrize(
    ("text", "units", "expected"),
    [
        ("-8.95000", 2, -895),
        ("-200,00", 2, -20_000),
        ("1.400,82", 2, 140_082),
        ("1,400.82", 2, 140_082),
        ("-110.7", 2, -11_070),
        ("+5", 2, 500),
        (".5", 2, 50),
        ("5.", 2, 500),
        ("1 234,50", 2, 123_450),
        ("1\u00a0234,50", 2, 123_450),
        ("1'234.50", 2, 123_450),
        ("1.234.567", 2, 123_456_700),
        ("200,00-", 2, -20_000),
        ("−3.10", 2, -310),
        ("500", 0, 500),
        ("500.00", 0, 500),
        ("1.234", 3, 1_234),
        ("0.00", 2, 0),
    ],
)
def test_an_amount_that_can_be_read_in_one_way_is_exact(text: str, units: int, expected: int) -> None:
    assert minor(text, units) == expected


@pytest.mark.parametrize(
    ("text", "units"),
    [
        *(("12.345", 2), ("12,345", 2), ("12.340", 2), ("12.345", 0), ("1.234", 0), ("500.50", 0)),
        *(("1.2345", 2), ("", 2), ("-", 2), (".", 2), ("+-5", 2), ("--5", 2), ("-5-", 2), ("1,2,3", 2)),
        *(("1.400,82,1", 2), ("1,40.82", 2), ("1e3", 2), ("0x10", 2), ("NaN", 2), ("١٢", 2), ("1 2", 2)),
        *((f"{MAX_MINOR + 1}", 0), ("9" * 70, 2), ("12.34.56", 2), ("(5.00)", 2), ("1,234,56", 2), ("EUR 5", 2)),
    ],
)
def test_any_other_is_refused(text: str, units: int) -> None:
    with pytest.raises(InexactAmount):
        minor(text, units)


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("12.345", {"decimal_mark": ",", "group_mark": "."}, 1_234_500),
        ("1.400,82", {"decimal_mark": ",", "group_mark": "."}, 140_082),
        ("12.345", {"decimal_mark": "."}, None),
        ("1.400,82", {"decimal_mark": ","}, None),
        ("1,400.82", {"decimal_mark": "."}, None),
        ("1,5", {"decimal_mark": "."}, None),
    ],
)
def test_a_source_that_names_its_marks_is_believed_and_nothing_else(
    text: str, marks: dict[str, str], expected: int | None
) -> None:
    if expected is None:
        with pytest.raises(InexactAmount):
            minor(text, 2, **marks)
    else:
        assert minor(text, 2, **marks) == expected


@pytest.mark.parametrize(
    ("amount", "decimals", "units", "expected"),
    [(50_000, 2, 0, 500), (50_050, 2, 0, None), (500, 0, 2, 50_000), (1_234, 3, 3, 1_234), (-100, 2, 0, -1)],
)
def test_an_amount_of_another_scale_comes_out_even_or_is_refused(
    amount: int, decimals: int, units: int, expected: int | None
) -> None:
    if expected is None:
        with pytest.raises(InexactAmount):
            from_other_scale(amount, decimals, units)
    else:
        assert from_other_scale(amount, decimals, units) == expected


@given(
    st.integers(-MAX_MINOR, MAX_MINOR),
    st.integers(0, 4),
    st.sampled_from(".,"),
    st.sampled_from(["", ".", ",", " ", "'"]),
)
def test_what_is_written_comes_back(amount: int, units: int, decimal_mark: str, group_mark: str) -> None:
    if group_mark == decimal_mark:
        return
    text = written(amount, units, decimal_mark, group_mark)
    assert minor(text, units, decimal_mark=decimal_mark, group_mark=group_mark) == amount
    try:
        assert minor(text, units) == amount
    except InexactAmount:
        assert len(text) > 3


def written(amount_minor: int, units: int, decimal_mark: str = ".", group_mark: str = "") -> str:
    whole, rest = divmod(abs(amount_minor), 10**units)
    grouped = f"{whole:,}".replace(",", group_mark)
    return ("-" if amount_minor < 0 else "") + grouped + (f"{decimal_mark}{rest:0{units}}" if units else "")


@given(st.text(max_size=20), st.integers(0, 4))
def test_no_text_is_a_surprise(text: str, units: int) -> None:
    try:
        found = minor(text, units)
    except InexactAmount:
        return
    digits = "".join(one for one in text if one.isdigit()).lstrip("0")
    assert str(abs(found)).rstrip("0") == digits.rstrip("0") or found == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20150706000000[-3:GMT]", date(2015, 7, 6)),
        ("20240323", date(2024, 3, 23)),
        ("20240323235959.999[-11]", date(2024, 3, 23)),
    ],
)
def test_a_day_of_ofx_stays_the_day_that_the_bank_wrote(text: str, expected: date) -> None:
    assert compact_day(text) == expected


@pytest.mark.parametrize(
    "text", ["2014-12-31", "2014-12-31T23:59:00-11:00", "2014-12-31+02:00", "2014-12-31T00:00:00Z"]
)
def test_a_day_of_iso_stays_the_day_that_the_bank_wrote(text: str) -> None:
    assert iso_day(text) == date(2014, 12, 31)


@pytest.mark.parametrize("text", ["", "20240230", "2024", "24-01-01", "2024-02-30", "2014-12-31x"])
def test_what_is_no_day_is_refused(text: str) -> None:
    for reader in (compact_day, iso_day):
        with pytest.raises(InvalidDay):
            reader(text)


def test_an_entry_date_lies_in_the_year_that_is_nearest() -> None:
    assert nearest_day(12, 30, date(2026, 1, 1), "1230") == date(2025, 12, 30)
    assert nearest_day(1, 2, date(2025, 12, 31), "0102") == date(2026, 1, 2)
    assert nearest_day(2, 29, date(2025, 3, 1), "0229") == date(2024, 2, 29)
    with pytest.raises(InvalidDay):
        nearest_day(2, 30, date(2025, 3, 1), "0230")
