"""Files of bank movements: their rules, and how movements are cut into waves that may be sent at once.

A file is CSV (see csv_file) with a header. What a movement holds follows the rules that the API has for a payment: a
file in which one value breaks them is refused as a whole, and the line is named.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from json import dumps
from operator import add
from typing import BinaryIO

from app.domain.csv_file import MalformedFile, records
from app.domain.payment_checks import refuse_account_id, refuse_amount, refuse_future, refuse_id
from app.domain.refusals import Refusal, RefusalCode
from app.domain.timestamps import parse_time
from app.domain.wording import sized

COLUMNS = ("transaction_id", "account_id", "date", "direction", "amount_minor")
"""Columns a file must have."""

REMARKS = ("operation", "purpose", "counterparty_bank", "counterparty_account")
"""Columns it may have: they become the payment's metadata."""

LARGEST_REMARKS = 16 * 1024
"""Bytes as JSON: as much as the API takes as metadata."""

_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(slots=True, frozen=True)
class Movement:
    """Money into (`credit`) or out of (`debit`) a customer's account; minor units. Equal whatever the line."""

    transaction_id: str
    account_id: str
    booked_at: datetime
    is_credit: bool
    amount_minor: int
    remarks: Mapping[str, str]
    line: int = field(default=0, compare=False)


def customer_account(account_id: str) -> str:
    """The account of a customer of the bank."""
    return f"customer:{account_id}"


def read_movements(file: BinaryIO, now: datetime) -> Iterator[Movement]:
    """The movements of a file; raises MalformedFile where it, or a movement, cannot be. None is later than `now`."""
    rows = records(file)
    line, header = next(rows, (1, []))
    _check_header(line, header)
    for line, values in rows:
        if len(values) != len(header):
            raise MalformedFile(
                line,
                f"{len(values)} values where the header has {len(header)} columns; a value with a comma needs quotes",
            )
        if any(_holds_a_row(value, header) for value in values):
            raise MalformedFile(line, "a value in quotes holds what looks like another movement; is its quote closed?")
        yield _movement(dict(zip(header, values, strict=True)), line, now)


def _check_header(line: int, header: Sequence[str]) -> None:
    if not header:
        raise MalformedFile(line, f"the file is empty; it needs a header with {', '.join(COLUMNS)}")
    if len(header) == 1 and (found := next((one for one in ";\t|" if one in header[0]), None)):
        raise MalformedFile(line, f"the columns are separated by {found!r}; a comma is expected")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise MalformedFile(line, f"the header has {', '.join(twice)} more than once")
    if missing := [column for column in COLUMNS if column not in header]:
        raise MalformedFile(line, f"the header lacks {', '.join(missing)}")
    if unknown := [column for column in header if column not in COLUMNS + REMARKS]:
        known = ", ".join(COLUMNS + REMARKS)
        raise MalformedFile(line, f"the header has unknown columns: {_shown(', '.join(unknown))}; known are {known}")


def _holds_a_row(value: str, header: Sequence[str]) -> bool:
    """Whether a value has swallowed a row, from an unclosed quote to a stray one: a date stands where a row has it."""
    if "\n" not in value and "\r" not in value:
        return False
    place = header.index("date")
    rows = [line.split(",") for line in value.splitlines()[1:]]
    return any(len(cells) > place and _DAY.match(cells[place]) for cells in rows)


def _movement(row: Mapping[str, str], line: int, now: datetime) -> Movement:
    for column in COLUMNS:
        if not row[column]:
            raise MalformedFile(line, f"{column} is missing")
    customer, direction = row["account_id"], row["direction"]
    refusal = refuse_id("transaction_id", row["transaction_id"]) or refuse_account_id(customer_account(customer))
    if refusal is not None:
        raise MalformedFile(line, refusal.detail)
    if direction not in ("credit", "debit"):
        raise MalformedFile(line, f"direction must be credit or debit, not {_shown(direction)}")
    remarks = {name: value for name in REMARKS if (value := row.get(name))}
    if len(dumps(remarks, ensure_ascii=False, separators=(",", ":")).encode()) > LARGEST_REMARKS:
        raise MalformedFile(line, f"{', '.join(remarks)} have more than {sized(LARGEST_REMARKS)}")
    booked_at, amount_minor = _time(row["date"], line, now), _amount(row["amount_minor"], line)
    return Movement(row["transaction_id"], customer, booked_at, direction == "credit", amount_minor, remarks, line)


def _amount(text: str, line: int) -> int:
    if not _WHOLE.fullmatch(text):
        raise MalformedFile(line, f"amount_minor must be a whole number of minor units, not {_shown(text)}")
    amount_minor = int(text[:20])  # enough to be out of range
    if refusal := refuse_amount(amount_minor):
        raise MalformedFile(line, refusal.detail)
    return amount_minor


def _time(text: str, line: int, now: datetime) -> datetime:
    """A day, which begins in UTC, or a time with its offset."""
    try:
        moment = parse_time(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError as error:
        raise MalformedFile(line, f"date {error}, or a day as 2026-01-31; it is {_shown(text)}") from None
    if refusal := refuse_future("date", moment, now):
        raise MalformedFile(line, refusal.detail)
    return moment


def _shown(value: str) -> str:
    """A value as a message shows it."""
    return repr(value if len(value) <= 60 else f"{value[:60]}…")


def without_reused(movements: Iterable[Movement]) -> tuple[list[Movement], list[tuple[Movement, Refusal]]]:
    """The movements to send, and those refused because an earlier line has used their transaction id for another.

    The same movement again is sent again: it is answered as a repeat. Another one under the same id must not be sent,
    for a wave may send it before the earlier.
    """
    first: dict[str, Movement] = {}
    to_send, refused = [], []
    for movement in movements:
        earlier = first.setdefault(movement.transaction_id, movement)
        if earlier == movement:
            to_send.append(movement)
        else:
            refused.append((movement, _refuse_reused(movement, earlier)))
    return to_send, refused


def _refuse_reused(movement: Movement, earlier: Movement) -> Refusal:
    return Refusal(
        RefusalCode.EXTERNAL_ID_REUSED,
        f"transaction_id {movement.transaction_id!r} stands on line {earlier.line} for another movement. "
        "Nothing was moved.",
        {"field": "transaction_id", "external_id": movement.transaction_id},
    )


def waves(movements: Iterable[Movement], window: int) -> Iterator[list[Movement]]:
    """Cut movements into waves whose outcome does not depend on what is still being posted; at most `window` in one.

    Credits become spendable only once they are in the ledger, so a debit that follows a credit of the same account is
    in a later wave. Within a wave the debits go first: they must not see the credits after them. Each account keeps
    the order of its movements; those of others, within the `window` movements that are looked at together, may change
    places with them, for one account's funds do not depend on another's.
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
