"""Reading the scripts' records."""

import pytest

from app.domain.payment_checks import FINGERPRINT_LENGTH
from app.domain.reservations import Funds, Record, RecordState, parse_changed_at, parse_floor, parse_record
from app.domain.timestamps import from_milliseconds
from tests.builders import NOON_MS

PRINT = "f" * FINGERPRINT_LENGTH


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("A5-1|9", Record(PRINT, RecordState.ACCEPTED, "5-1", 9)),
        ("A|9|-100|30||5-1", Record(PRINT, RecordState.ACCEPTED, "", 9, Funds(-100, 30, None, 9))),
        ("A|9", Record(PRINT, RecordState.ACCEPTED, "", 9)),
        ("R9|100|30|-50|5", Record(PRINT, RecordState.REFUSED, funds=Funds(100, 30, -50, 9))),
        ("X5-1", Record(PRINT, RecordState.REJECTED, "5-1")),
        ("Dpay_3_5_1", Record(PRINT, RecordState.DUPLICATE, "5-1", original_payment_id="pay_3_5_1")),
    ],
)
def test_a_record_is_read_in_each_of_its_forms(text: str, record: Record) -> None:
    assert parse_record(f"{PRINT}{text}") == record


@pytest.mark.parametrize("text", ["9|100|30|0|1769860800000", "9|100|30||1769860800000-17"])
def test_when_funds_changed_is_read_from_a_time_and_from_a_position(text: str) -> None:
    assert parse_changed_at(text) == from_milliseconds(NOON_MS)


@pytest.mark.parametrize(("text", "floor"), [("", None), ("0", 0), ("-9007199254740991", -9007199254740991)])
def test_an_empty_floor_is_none(text: str, floor: int | None) -> None:
    assert parse_floor(text) == floor


@pytest.mark.parametrize(
    ("state", "available"),
    [
        (Funds(100, 30, 0, 1), 70),
        (Funds(100, 30, -50, 1), 120),
        (Funds(100, 30, None, 1), 70),
        (Funds(-20, 0, -50, 1), 30),
    ],
)
def test_available_is_balance_less_held_less_floor(state: Funds, available: int) -> None:
    assert state.available_minor == available
