"""The text of an intent: every field comes back, and a plain payment's is short."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.cache.codec import decode_intent, encode_intent
from app.domain.payment import Intent, Kind, Leg
from tests.builders import intent

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
