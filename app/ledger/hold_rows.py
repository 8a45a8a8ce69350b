"""Rows of the table of authorizations."""

from collections.abc import Sequence
from typing import Any

from app.domain.holds import Hold, HoldState
from app.domain.payments import Leg


def hold_of(row: Sequence[Any]) -> Hold:
    """A row of the table, all its columns in order."""
    fields = list(row)
    fields[7] = [Leg(account_id, amount_minor) for account_id, amount_minor in fields[7]]
    fields[8] = HoldState(fields[8])
    return Hold(*fields)
