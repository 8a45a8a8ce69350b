"""The texts of the cache: intents survive the round trip and are short, and the scripts' records can be read."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.cache.codec import decode_intent, encode_intent, parse_changed_at, parse_floor, parse_record
from app.domain.payment import Intent, Kind, Leg
from app.domain.payment_checks import FINGERPRINT_LENGTH
from app.domain.reservations import Funds, Record, RecordState
from app.domain.timestamps import from_milliseconds
from tests.builders import NOON_MS, intent

PRINT = "f" * FINGERPRINT_LENGTH
PLAIN = intent(metadata=None)


def again(sent: Intent) -> Intent:
    return decode_intent(encode_intent(sent).decode())


@pytest.mark.parametrize(
    "field",
    [
        {"kind": Kind.AUTHORIZATION.value},
        {"description": "Zürich | 'quoted' \\ \""},
        {"effective_at": datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)},
        {"metadata": {"ü": [1.5, None, {"deep": "☃"}]}},
        {"expires_in_s": 60},
        {"payment_id": "pay_1_2_3"},
        {"linked": "batch-1"},
        {"awaited": True},
        {"legs": [Leg("a", 3), Leg("b", -1), Leg("c", -2)]},
        {"hold_minor": 2**53 - 1},
    ],
    ids=lambda field: next(iter(field)),
)
def test_each_field_of_an_intent_comes_back_from_its_text(field: dict[str, Any]) -> None:
    sent = replace(PLAIN, **field)
    assert again(sent) == sent != PLAIN


def test_an_intent_with_everything_comes_back_from_its_text() -> None:
    sent = Intent(
        "entity", "external", "f" * 36, "guarded", 5, "EUR", [Leg("guarded", 5), Leg("other", -5)], "actor",
        "capture", "description", datetime(2026, 1, 1, tzinfo=UTC), {"a": 1}, 60, "pay_1_2_3", "linked", True,
    )  # fmt: skip
    assert len({repr(getattr(sent, one.name)) for one in fields(Intent)}) == len(fields(Intent)), "all differ"
    assert again(sent) == sent


def test_the_text_of_a_plain_payment_has_eight_values_and_names_none() -> None:
    values = msgspec.json.decode(encode_intent(PLAIN))
    assert len(values) == 8
    assert not any(one.name in encode_intent(PLAIN).decode() for one in fields(Intent))


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
def test_when_funds_changed_is_read_from_a_time_and_from_a_stream_id(text: str) -> None:
    assert parse_changed_at(text) == from_milliseconds(NOON_MS)


@pytest.mark.parametrize(("text", "floor"), [("", None), ("0", 0), ("-9007199254740991", -9007199254740991)])
def test_an_empty_floor_is_none(text: str, floor: int | None) -> None:
    assert parse_floor(text) == floor
