"""The checks of a payment: refusals in their order, and the intent of an accepted one."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounts import ID_PATTERN, MAX_ID_LENGTH, AccountStatus, AccountType
from app.domain.money import MAX_MINOR
from app.domain.payment import Intent, Leg
from app.domain.payment_checks import prepare, refuse_id
from app.domain.refusals import Refusal, RefusalCode
from tests.builders import facts, payment

ALICE, BOB, BANK = facts("alice"), facts("bob"), facts("bank", AccountType.ASSET)
KNOWN = {account.account_id: account for account in (ALICE, BOB, BANK)}


def closed(account_id: str) -> dict[str, Any]:
    return {**KNOWN, account_id: replace(KNOWN[account_id], status=AccountStatus.CLOSED)}


def changed(account_id: str, **fields: Any) -> dict[str, Any]:
    return {**KNOWN, account_id: replace(KNOWN[account_id], **fields)}


REFUSALS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "external id empty": (payment(external_id=""), KNOWN, "invalid_id"),
    "external id too long": (payment(external_id="x" * 129), KNOWN, "invalid_id"),
    "source with a line break": (payment("ali\nce"), KNOWN, "invalid_id"),
    "destination with outer space": (payment(destination=" bob"), KNOWN, "invalid_id"),
    "source is destination": (payment("alice", "alice"), KNOWN, "accounts_equal"),
    "source unknown": (payment("nobody"), KNOWN, "account_not_found"),
    "destination unknown": (payment(destination="nobody"), KNOWN, "account_not_found"),
    "source closed": (payment(), closed("alice"), "account_closed"),
    "destination closed": (payment(), closed("bob"), "account_closed"),
    "source frozen": (payment(), changed("alice", status=AccountStatus.FROZEN), "account_frozen"),
    "source barred from debits": (payment(), changed("alice", status=AccountStatus.FROZEN_DEBITS), "account_frozen"),
    "destination barred from credits": (
        payment(),
        changed("bob", status=AccountStatus.FROZEN_CREDITS),
        "account_frozen",
    ),
    "another entity": (payment(), changed("bob", entity_id="other"), "entity_mismatch"),
    "source in another currency": (payment(), changed("alice", currency_code="USD"), "currency_mismatch"),
    "destination in another currency": (payment(), changed("bob", currency_code="USD"), "currency_mismatch"),
    "payment in another currency": (payment(currency_code="USD"), KNOWN, "currency_mismatch"),
    "nothing to move": (payment(amount_minor=0), KNOWN, "amount_not_positive"),
    "a negative amount": (payment(amount_minor=-1), KNOWN, "amount_not_positive"),
    "one above the range": (payment(amount_minor=MAX_MINOR + 1), KNOWN, "amount_out_of_range"),
    "two guards": (
        payment(),
        changed("bob", type=AccountType.ASSET, has_floor=True),
        "two_guarded_accounts",
    ),
}


@pytest.mark.parametrize(("request_", "accounts", "code"), REFUSALS.values(), ids=REFUSALS)
def test_an_impossible_payment_is_refused(request_: Any, accounts: dict[str, Any], code: str) -> None:
    refusal = prepare(request_, accounts, "key:test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


# Each entry is wrong in its own way and in every later one too; only the first may be named.
PRECEDENCE = [
    "invalid_id",
    "accounts_equal",
    "account_not_found",
    "account_closed",
    "entity_mismatch",
    "currency_mismatch",
    "amount_not_positive",
]


@pytest.mark.parametrize("first", range(len(PRECEDENCE)))
def test_only_the_first_refusal_in_the_catalogues_order_is_given(first: int) -> None:
    wrong = set(PRECEDENCE[first:])
    accounts = dict(KNOWN)
    if "account_closed" in wrong:
        accounts["alice"] = replace(accounts["alice"], status=AccountStatus.CLOSED)
    if "entity_mismatch" in wrong:
        accounts["bob"] = replace(accounts["bob"], entity_id="other")
    if "account_not_found" in wrong:
        del accounts["alice"]
    request = payment(
        external_id="" if "invalid_id" in wrong else "order-1",
        source="alice",
        destination="alice" if "accounts_equal" in wrong else "bob",
        amount_minor=0 if "amount_not_positive" in wrong else 1,
        currency_code="USD" if "currency_mismatch" in wrong else "EUR",
    )
    refusal = prepare(request, accounts, "key:test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == PRECEDENCE[first]


def test_the_order_of_these_checks_is_the_catalogues() -> None:
    catalogue = [code.value for code in RefusalCode]
    assert [catalogue.index(code) for code in PRECEDENCE] == sorted(catalogue.index(code) for code in PRECEDENCE)


@pytest.mark.parametrize(
    ("source", "destination", "guarded", "hold_minor"),
    [
        ("alice", "bob", "alice", 250),
        ("alice", "bank", "alice", 250),
        ("bank", "alice", "bank", 0),  # both balances rise
    ],
)
def test_an_intent_holds_on_the_account_whose_balance_falls(
    source: str, destination: str, guarded: str, hold_minor: int
) -> None:
    made = prepare(payment(source, destination, 250, description="d", metadata={"a": 1}), KNOWN, "key:k")
    assert isinstance(made, Intent)
    assert (made.guarded_account_id, made.hold_minor) == (guarded, hold_minor)
    assert made.legs == [Leg(source, 250), Leg(destination, -250)]
    assert (made.entity_id, made.currency_code, made.actor) == ("default", "EUR", "key:k")
    assert (made.description, made.metadata) == ("d", {"a": 1})


@pytest.mark.parametrize("amount_minor", [1, MAX_MINOR])
def test_both_ends_of_the_range_are_amounts(amount_minor: int) -> None:
    assert isinstance(prepare(payment(amount_minor=amount_minor), KNOWN, ""), Intent)


@pytest.mark.parametrize("value", ["a", "ü", "x" * 128, "order 1", "🪙", "a:b|c", "caf\u00e9", "한글", "x\u0323"])
def test_a_printable_id_is_accepted(value: str) -> None:
    assert refuse_id("external_id", value) is None


@pytest.mark.parametrize("value", ["", " ", "a ", "\ta", "a\x00b", "a\u2028b", "\u200b", "x" * 129])
def test_an_id_that_nobody_could_read_or_type_is_refused(value: str) -> None:
    refusal = refuse_id("external_id", value)
    assert refusal is not None
    assert refusal.code == RefusalCode.INVALID_ID
    assert refusal.figures == {"field": "external_id"}


@pytest.mark.parametrize("value", ["cafe\u0301", "\u212b", "\u1112\u1161\u11ab"])
def test_an_id_that_looks_like_another_is_refused(value: str) -> None:
    refusal = refuse_id("external_id", value)
    assert refusal is not None
    assert (refusal.code, refusal.figures) == (RefusalCode.INVALID_ID, {"field": "external_id"})
    assert "Normalization Form C" in refusal.detail


@given(st.text(max_size=MAX_ID_LENGTH + 2) | st.text(" \t\n\x00\x1f\x7f\xa0é/a", max_size=5))
def test_what_the_documented_pattern_of_ids_does_not_allow_is_refused(value: str) -> None:
    documented = re.search(ID_PATTERN, value) is not None and 1 <= len(value) <= MAX_ID_LENGTH
    assert documented or refuse_id("external_id", value) is not None
