"""A month that the replay of bank movements has posted, and the bank's statement of it with twenty planted errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from tests.movements import Row
from tests.services.statements.desk import BANK, Desk
from tests.statements.month import (
    Month,
    Movement,
    Stated,
    book_twice_there,
    change_amounts,
    charge,
    leave_out_there,
    take_back,
)

CUSTOMER = "customer:"
SHORTEST_ID = 5


def planted_by_replay(desk: Desk, rows: Sequence[Row]) -> Month:
    """Replay the movements, and write the statement from what was posted; both sides get their errors.

    Three movements are kept from the replay, so only the bank has them. A second file brings two of them again under
    other ids, and two that come too late for the bank.
    """
    kept_back, rest = _kept_back(rows)
    desk.replay(rest)
    month = _right(posted(desk), [_movement(row) for row in kept_back])
    for n, line in enumerate(month.lines):
        if n >= len(month.payments):
            month.planted.add(("missing_here", f"{line.reference} {line.day}"))
    chosen = _spread(_sound(month.payments), 13)
    again, late = _again(month, chosen[:2]), _late(month)
    desk.replay([*again, *late])
    month.planted |= {("duplicate", one["transaction_id"]) for one in again}
    month.planted |= {("timing", one["transaction_id"]) for one in late}
    _err_there(month, chosen[2:])
    month.payments = posted(desk)
    assert len(month.planted) == 20
    month.lines.sort(key=lambda line: (line.day, line.id))
    return month


def posted(desk: Desk) -> list[Movement]:
    """What stands on the bank's account of the ledger, by day."""
    found = desk.world.rows(
        f"""SELECT t.external_id, (t.effective_at AT TIME ZONE 'UTC')::date AS day, e.amount_minor, o.account_id
        FROM entry e JOIN ledger_transaction t USING (partition, chain_seq)
        JOIN entry o ON (o.partition, o.chain_seq) = (e.partition, e.chain_seq) AND o.account_id <> e.account_id
        WHERE e.account_id = '{BANK}' ORDER BY day, e.entry_number"""
    )
    return [Movement(*row) for row in found]


def _kept_back(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Three movements of the middle of the month, and the rest."""
    chosen = [rows[n] for n in _spread(_sound([_movement(row) for row in rows]), 3)]
    return chosen, [row for row in rows if row not in chosen]


def _movement(row: Row) -> Movement:
    amount = int(row["amount_minor"]) * (1 if row["direction"] == "credit" else -1)
    return Movement(row["transaction_id"], date.fromisoformat(row["date"]), amount, f"{CUSTOMER}{row['account_id']}")


def _row(one: Movement) -> Row:
    return {
        "transaction_id": one.reference,
        "account_id": one.customer.removeprefix(CUSTOMER),
        "date": one.day.isoformat(),
        "direction": "credit" if one.amount_minor > 0 else "debit",
        "amount_minor": str(abs(one.amount_minor)),
    }


def _right(payments: list[Movement], only_bank: Sequence[Movement]) -> Month:
    """The statement as it should be: each movement is a line of the same day or up to two days later."""
    days = [one.day for one in payments]
    month = Month(payments, first=min(days), last=max(days), opening_minor=1_000_000)
    for n, one in enumerate([*payments, *only_bank]):
        booked_on = min(one.day + timedelta(days=n % 3), month.last)
        month.lines.append(Stated(f"B{n:05}", booked_on, one.amount_minor, one.reference, f"Transfer {one.reference}"))
    return month


def _sound(movements: Sequence[Movement]) -> list[int]:
    """Movements that no other is like, whose ids look like ids, and which are not late in the month."""
    alike = Counter((one.customer, one.amount_minor) for one in movements)
    end = max(one.day for one in movements) - timedelta(days=7)
    return [
        n
        for n, one in enumerate(movements)
        if one.day <= end and len(one.reference) >= SHORTEST_ID and alike[one.customer, one.amount_minor] == 1
    ]


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """So many of them, far apart."""
    return [numbers[n * len(numbers) // count] for n in range(count)]


def _again(month: Month, numbers: Sequence[int]) -> list[Row]:
    """These movements once more under other ids."""
    chosen = (month.payments[n] for n in numbers)
    return [_row(one) | {"transaction_id": f"{one.reference}-again"} for one in chosen]


def _late(month: Month) -> list[Row]:
    """Two movements of the last days, which the bank does not have yet."""
    days = (month.last - timedelta(days=1), month.last)
    customer = month.payments[0].customer
    return [_row(Movement(f"late-{n}", day, 44_400 + n, customer)) for n, day in enumerate(days)]


def _err_there(month: Month, numbers: Sequence[int]) -> None:
    book_twice_there(month, numbers[0::4])
    leave_out_there(month, numbers[1::4])
    change_amounts(month, numbers[2::4])
    take_back(month, numbers[3::4])
    charge(month, (month.first + timedelta(days=14), month.last))
