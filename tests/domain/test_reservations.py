"""Funds: what can still be spent."""

import pytest

from app.domain.reservations import Funds


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
