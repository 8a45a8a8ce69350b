"""Which account guards a payment, for every pair of types and floors."""

from itertools import product

import pytest

from app.domain.accounts import (
    AccountStatus,
    AccountType,
    default_overdraft_limit,
    floor_of,
    guarded_account,
    normal_sign,
)
from tests.builders import facts

DEBIT_NORMAL = {"asset", "expense"}


@pytest.mark.parametrize("source_floor", [False, True])
@pytest.mark.parametrize("destination_floor", [False, True])
@pytest.mark.parametrize(("source_type", "destination_type"), list(product(AccountType, AccountType)))
def test_the_guarded_account_has_a_floor_and_a_falling_balance(
    source_type: AccountType, destination_type: AccountType, source_floor: bool, destination_floor: bool
) -> None:
    source = facts("source", source_type, has_floor=source_floor)
    destination = facts("destination", destination_type, has_floor=destination_floor)
    source_falls = source_type.value not in DEBIT_NORMAL  # it is debited
    destination_falls = destination_type.value in DEBIT_NORMAL  # it is credited

    guard = guarded_account(source, [destination])

    endangered = [
        (account, falls)
        for account, falls, floor in (
            (source, source_falls, source_floor),
            (destination, destination_falls, destination_floor),
        )
        if falls and floor
    ]
    if len(endangered) == 2:
        assert guard is None
    elif endangered:
        assert guard == endangered[0]
    else:
        assert guard == (source, source_falls)


@pytest.mark.parametrize(
    ("type", "sign", "limit"),
    [("asset", 1, None), ("expense", 1, None), ("liability", -1, 0), ("equity", -1, None), ("revenue", -1, None)],
)
def test_each_type_has_its_normal_side_and_only_wallets_a_floor(type: str, sign: int, limit: int | None) -> None:
    assert normal_sign(AccountType(type)) == sign
    assert default_overdraft_limit(AccountType(type)) == limit


@pytest.mark.parametrize(("limit", "floor"), [(None, None), (0, 0), (500, -500), (2**53 - 1, -(2**53) + 1)])
def test_an_overdraft_limit_is_a_negative_floor(limit: int | None, floor: int | None) -> None:
    assert floor_of(limit) == floor


@pytest.mark.parametrize(
    ("status", "debits", "credits"),
    [
        ("open", False, False),
        ("frozen_debits", True, False),
        ("frozen_credits", False, True),
        ("frozen", True, True),
        ("closed", True, True),
    ],
)
def test_a_status_bars_what_its_name_says(status: str, debits: bool, credits: bool) -> None:
    assert (AccountStatus(status).bars_debits, AccountStatus(status).bars_credits) == (debits, credits)
