"""Fingerprints: they tell that content is the same, or which field differs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MAX_MINOR
from app.domain.payment_checks import (
    DEFAULT_EXPIRY_S,
    FINGERPRINT_LENGTH,
    differing_field,
    fingerprint,
    former_fingerprints,
)
from app.domain.splits import Destination
from app.domain.timestamps import cut_to_milliseconds
from tests.builders import NOON, payment

DIFFERENCES = {
    "source_account_id": {"source_account_id": "carol"},
    "destination_account_id": {"destination_account_id": "carol"},
    "amount_minor": {"amount_minor": 101},
    "currency_code": {"currency_code": "USD"},
    "description": {"description": "other"},
    "effective_at": {"effective_at": NOON},
    "metadata": {"metadata": {"a": 1}},
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_fingerprint_names_the_field_that_differs(name: str) -> None:
    ours, theirs = fingerprint(payment()), fingerprint(replace(payment(), **DIFFERENCES[name]))
    assert ours != theirs
    assert differing_field(ours, theirs) == differing_field(theirs, ours) == name


def test_of_several_differences_the_first_is_named() -> None:
    names = list(DIFFERENCES)
    for first, name in enumerate(names):
        everything_after: dict[str, Any] = {}
        for later in names[first:]:
            everything_after |= DIFFERENCES[later]
        assert differing_field(fingerprint(payment()), fingerprint(replace(payment(), **everything_after))) == name


def test_a_difference_that_no_single_field_explains_is_called_content() -> None:
    ours = fingerprint(payment())
    other_digest = ("A" if ours[0] != "A" else "B") + ours[1:]
    assert differing_field(ours, other_digest) == "content"


@pytest.mark.parametrize(
    "same",
    [
        replace(payment(), expected_version=7),
        replace(payment(), metadata={}),
        replace(payment(), description=""),
        replace(payment(), expires_in_s=None),
    ],
)
def test_a_precondition_and_empty_content_do_not_change_the_fingerprint(same: Any) -> None:
    assert fingerprint(same) == fingerprint(payment())


def split(share: str) -> tuple[Destination, ...]:
    return (Destination("bob", share=share), Destination("carol", remainder=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (payment(manual_capture=True), payment(manual_capture=True, expires_in_s=DEFAULT_EXPIRY_S)),
        (
            payment(effective_at=NOON.replace(microsecond=123_456)),
            payment(effective_at=NOON.replace(microsecond=123_000)),
        ),
        (payment(destinations=split("0.50")), payment(destinations=split("0.5"))),
        (payment(destinations=split("1.000000")), payment(destinations=split("1"))),
    ],
)
def test_two_spellings_of_one_meaning_have_one_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (payment(manual_capture=True), payment(manual_capture=True, expires_in_s=DEFAULT_EXPIRY_S + 1)),
        (payment(manual_capture=True), payment()),
        (payment(effective_at=NOON), payment(effective_at=NOON.replace(microsecond=1_000))),
        (payment(destinations=split("0.5")), payment(destinations=split("0.05"))),
        (payment(destinations=split("1")), payment(destinations=split("0.1"))),
    ],
)
def test_two_meanings_have_two_fingerprints(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) not in former_fingerprints(other)


def test_an_ordinary_payment_has_no_former_fingerprint() -> None:
    assert former_fingerprints(payment(description="lunch", metadata={"n": 1})) == ()
    assert former_fingerprints(payment(effective_at=NOON)) == ()
    assert former_fingerprints(payment(destinations=split("0.5"))) == ()


def test_the_order_of_metadata_keys_means_nothing() -> None:
    one, other = payment(metadata={"a": 1, "b": {"c": 2, "d": 3}}), payment(metadata={"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint(one) == fingerprint(other)


def test_a_fingerprint_stays_the_same_from_release_to_release() -> None:
    golden = payment("alice", "bob", 1234, description="lunch", effective_at=NOON, metadata={"n": 1, "ü": [1.5, None]})
    assert fingerprint(golden) == "jYlY0UStp3vZvEexQOCjD/AK29FPwqYAAAAA"


requests = st.builds(
    payment,
    st.text(min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.integers(1, MAX_MINOR),
    external_id=st.text(min_size=1, max_size=8),
    currency_code=st.sampled_from(["EUR", "USD", "JPY"]),
    description=st.none() | st.text(min_size=1, max_size=20),
    effective_at=st.none() | st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    metadata=st.none() | st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=5), min_size=1),
)


@given(requests, requests)
def test_fingerprints_agree_exactly_when_the_content_does(one: Any, other: Any) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (meaning(one) == meaning(other))


def meaning(request: Any) -> Any:
    moment = request.effective_at
    moment = None if moment is None else cut_to_milliseconds(moment)
    return replace(request, external_id="", expected_version=None, effective_at=moment)


@given(requests)
def test_a_fingerprint_has_its_length_and_never_the_separator_of_records(request: Any) -> None:
    made = fingerprint(request)
    assert len(made) == FINGERPRINT_LENGTH
    assert "|" not in made
    assert made.isascii()
