"""Bank files: read their movements, and cut them into waves that can be sent in parallel."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from operator import add

from app.domain.money import MAX_MINOR

COLUMNS = ("transaction_id", "account_id", "date", "direction", "amount_minor")
"""Columns that a file must have; those of REMARKS are optional."""

REMARKS = ("operation", "purpose", "counterparty_bank", "counterparty_account")


@dataclass(slots=True, frozen=True)
class Movement:
    """Money into (`credit`) or out of (`debit`) a customer's account; minor units."""

    transaction_id: str
    account_id: str
    booked_at: datetime
    is_credit: bool
    amount_minor: int
    remarks: Mapping[str, str]


def read_movement(row: Mapping[str, str | None], line: int) -> Movement:
    """One line of the file; ValueError says what is wrong with which line."""
    for column in COLUMNS:
        if not row.get(column):
            raise ValueError(f"line {line}: {column} is missing")
    direction, amount = str(row["direction"]), str(row["amount_minor"])
    if direction not in ("credit", "debit"):
        raise ValueError(f"line {line}: direction must be credit or debit, not {direction!r}")
    if not (amount.isascii() and amount.isdecimal() and 0 < int(amount) <= MAX_MINOR):
        raise ValueError(f"line {line}: amount_minor must be a positive whole number of minor units, not {amount!r}")
    try:
        booked_at = datetime.fromisoformat(str(row["date"])).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"line {line}: date must be an ISO date, not {row['date']!r}") from None
    remarks = {name: value for name in REMARKS if (value := row.get(name))}
    return Movement(
        str(row["transaction_id"]), str(row["account_id"]), booked_at, direction == "credit", int(amount), remarks
    )


def waves(movements: Iterable[Movement], window: int) -> Iterator[list[Movement]]:
    """Cut movements into waves whose outcome does not depend on what is still being posted; at most `window` in one.

    A credit becomes spendable only once it is in the ledger, so a debit that follows a credit of the same account is in
    a later wave. Within a wave the debits go first: they must not see the wave's credits. Each account keeps the order
    of its movements. Movements of different accounts may be reordered within the `window`, because the funds of one
    account do not depend on another's.
    """
    ahead = iter(movements)
    while looked_at := list(islice(ahead, window)):
        debits: list[list[Movement]] = []
        credits: list[list[Movement]] = []
        turns: dict[str, int] = {}
        credited: dict[str, int] = {}
        for movement in looked_at:
            turn = turns.get(movement.account_id, 0)
            if not movement.is_credit and credited.get(movement.account_id) == turn:
                turn += 1
            if turn == len(debits):
                debits.append([])
                credits.append([])
            turns[movement.account_id] = turn
            if movement.is_credit:
                credited[movement.account_id] = turn
                credits[turn].append(movement)
            else:
                debits[turn].append(movement)
        yield from map(add, debits, credits)
