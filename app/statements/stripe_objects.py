"""Balance transactions as objects of Stripe's API: a JSON list, as its command line prints, or one object a line.

The API counts in its own minor units, which differ from those of ISO 4217 for a few currencies: an amount is converted
where it comes out even, and refused where it does not. Times are UTC, as they are in Stripe's reports.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, NoReturn

from app.domain.statement import (
    MinorUnits,
    Page,
    RefusedLine,
    StatementEvent,
    StatementHead,
    StatementLine,
    UnreadableStatement,
)
from app.domain.statement_source import SourceOptions
from app.domain.wording import sized
from app.statements.amounts import STRIPE_API, InexactAmount, from_other_scale
from app.statements.stripe_lines import DEFAULT_ACCOUNT, NO_BALANCES, NoStripeLine, with_fee
from app.statements.texts import clean

LARGEST_LIST = 64 * 1024 * 1024
"""Bytes of a list that is one document: it is read as a whole. One object a line has no bound."""

LONGEST_LINE = 1024 * 1024

Numbered = tuple[int, Any]
"""The line of the file, and what stands there."""


def looks_like_objects(file: BinaryIO) -> bool:
    """Whether a file is JSON and no CSV; it is back at its beginning."""
    begin = file.read(64)
    file.seek(0)
    return begin.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"[")


def read_stripe_objects(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of a file of balance transactions; raises UnreadableStatement if it is no JSON."""
    reading = _Reading(options, minor_units)
    for line, one in _objects(file):
        yield from reading.take(line, one)
    for head in reading.heads.values():
        yield Page(head.number, 0, None, None, NO_BALANCES)


def _objects(file: BinaryIO) -> Iterator[Numbered]:
    first = file.readline(LONGEST_LINE)
    file.seek(0)
    try:
        begun = _parsed(first)
    except ValueError:
        begun = None
    if isinstance(begun, dict) and begun.get("object") != "list":
        yield from _of_lines(file)
    else:
        yield from _of_list(file)


def _of_lines(file: BinaryIO) -> Iterator[Numbered]:
    number = 0
    while raw := file.readline(LONGEST_LINE):
        number += 1
        if not raw.strip():
            continue
        try:
            yield number, _parsed(raw)
        except ValueError as error:
            yield number, NoStripeLine(f"it is no JSON object: {error}")


def _of_list(file: BinaryIO) -> Iterator[Numbered]:
    raw = file.read(LARGEST_LIST + 1)
    if len(raw) > LARGEST_LIST:
        raise UnreadableStatement(1, f"the list is longer than {sized(LARGEST_LIST)}; save one object a line")
    try:
        found = _parsed(raw)
    except ValueError as error:
        raise UnreadableStatement(1, f"the file is no JSON: {error}") from None
    data = found.get("data") if isinstance(found, dict) else found
    if not isinstance(data, list):
        raise UnreadableStatement(1, "there is no list of balance transactions in this JSON")
    for one in data:
        yield 0, one


def _parsed(raw: bytes) -> Any:
    """JSON, in which a number with a fraction stays text: no amount of the API has one. Raises ValueError."""
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


@dataclass(slots=True)
class _Reading:
    options: SourceOptions
    minor_units: MinorUnits
    heads: dict[str, StatementHead] = field(default_factory=dict)
    position: int = 0

    def take(self, line: int, one: Any) -> Iterator[StatementEvent]:
        """The events of an object; the first one in a currency begins its statement."""
        self.position += 1
        head = None
        try:
            if isinstance(one, NoStripeLine):
                raise one
            if not isinstance(one, dict) or one.get("object") != "balance_transaction":
                raise NoStripeLine("it is no balance transaction")
            currency = _text(one, "currency").upper()
            head = self.heads.get(currency)
            if head is None:
                head = self._begin(currency)
                yield head
            lines = self._lines(line, one, head)
        except (InexactAmount, NoStripeLine) as error:
            yield RefusedLine(line, self.position, str(error), head.number if head else None)
            return
        yield from lines

    def _begin(self, currency: str) -> StatementHead:
        units = self.minor_units(currency)
        if units is None:
            raise NoStripeLine(f"the currency {currency!r} is unknown")
        account = self.options.account or DEFAULT_ACCOUNT
        head = self.heads[currency] = StatementHead(len(self.heads) + 1, account, currency, units)
        return head

    def _lines(self, number: int, one: Mapping[str, Any], head: StatementHead) -> list[StatementLine]:
        gross, fee, net = (_amount(one, name, head) for name in ("amount", "fee", "net"))
        kind, source = _text(one, "reporting_category") or _text(one, "type"), _source(one)
        line = StatementLine(
            statement=head.number,
            line=number,
            position=self.position,
            booked_on=_day(one, "created"),
            value_on=_day(one, "available_on") if one.get("available_on") is not None else None,
            amount_minor=gross,
            line_id=_text(one, "id"),
            kind=kind,
            reference=source,
            batch_id=source if kind == "payout" else _text(one, "payout"),
            text=_text(one, "description"),
        )
        return with_fee(line, fee, net)


def _text(one: Mapping[str, Any], name: str) -> str:
    value = one.get(name)
    return clean(value) if isinstance(value, str) else ""


def _source(one: Mapping[str, Any]) -> str:
    """The id of what the transaction is about, which may be expanded to the whole object."""
    value = one.get("source")
    return _text(value, "id") if isinstance(value, dict) else _text(one, "source")


def _amount(one: Mapping[str, Any], name: str, head: StatementHead) -> int:
    value = one.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NoStripeLine(f"{name} must be a whole number of Stripe's minor units, not {str(value)[:40]!r}")
    decimals = STRIPE_API.get(head.currency_code, head.minor_units)
    return from_other_scale(value, decimals, head.minor_units)


def _day(one: Mapping[str, Any], name: str) -> date:
    value = one.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NoStripeLine(f"{name} must be a time in seconds, not {str(value)[:40]!r}")
    try:
        return datetime.fromtimestamp(value, UTC).date()
    except (OverflowError, OSError, ValueError):
        raise NoStripeLine(f"{name} {value} is no time") from None
