"""CAMT.053 and CAMT.052 of ISO 20022, in all versions: entries are streamed, whatever the namespace is called.

Only `Ntry/Amt` in the account's currency moves the account, and only if it is booked. Details explain an entry: if all
of them have amounts in that currency, each is a line, and what they leave over is a line of its own, `fee` where the
charges say so and `remainder` otherwise. So the lines of an entry always add up to the entry.

`CdtDbtInd` says how an entry moves the account, also that of a reversal, as ISO 20022 has it; a source may say that its
bank does it the other way round. A document type is refused, so there are no entities.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, BinaryIO

from lxml import etree

from app.domain.money import MAX_MINOR
from app.domain.statement import (
    Balance,
    MinorUnits,
    NotBooked,
    Page,
    RefusedLine,
    StatementEvent,
    StatementHead,
    StatementLine,
    UnreadableStatement,
)
from app.domain.statement_source import SourceOptions
from app.statements.amounts import InexactAmount, minor
from app.statements.camt_details import describe, details_of, fee_total
from app.statements.camt_elements import Element, amount_text, iso_day_in, local_name, text_at
from app.statements.dates import InvalidDay
from app.statements.texts import clean

_STATEMENTS = ("Stmt", "Rpt", "Ntfctn")
_OPENING = ("OPBD", "PRCD")
_CLOSING = "CLBD"
_SIGNS = {"CRDT": 1, "DBIT": -1}


def read_camt(file: BinaryIO, options: SourceOptions, minor_units: MinorUnits) -> Iterator[StatementEvent]:
    """The events of a CAMT file; raises UnreadableStatement if it is not well-formed, or has no statement."""
    reading = _Reading(options, minor_units)
    names = ["{*}Document", *(f"{{*}}{name}" for name in (*_STATEMENTS, "Ntry", "Bal"))]
    arguments: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False}
    arguments |= {"remove_comments": True, "remove_pis": True}  # one of them within a value would cut it in two
    if options.encoding:
        arguments["encoding"] = options.encoding
    try:
        for event, element in etree.iterparse(file, events=("start", "end"), tag=names, **arguments):
            _refuse_document_type(element)
            name = local_name(element)
            if event == "start" and name in _STATEMENTS:
                reading.begin(element)
            elif event == "end":
                yield from reading.take(name, element)
    except etree.XMLSyntaxError as error:
        raise UnreadableStatement(error.lineno or 1, f"the XML is not well-formed: {error.msg}") from None
    if not reading.statements:
        raise UnreadableStatement(1, "there is no statement in this file, so this is no CAMT.053 or CAMT.052")


def _refuse_document_type(element: Element) -> None:
    if element.getroottree().docinfo.internalDTD is not None:
        raise UnreadableStatement(1, "the file has a document type, which no statement needs; nothing was read")


class _NoEntry(ValueError):
    """An entry that cannot be a line."""


class _Reading:
    def __init__(self, options: SourceOptions, minor_units: MinorUnits) -> None:
        self._options = options
        self._minor_units = minor_units
        self.statements = 0
        self._position = 0
        self._statement: Element | None = None
        self._head: StatementHead | None = None
        self._balances: dict[str, Element] = {}

    def begin(self, element: Element) -> None:
        """A statement begins; its account and balances come before its entries."""
        self.statements += 1
        self._statement, self._head, self._balances = element, None, {}

    def take(self, name: str, element: Element) -> Iterator[StatementEvent]:
        """The events of an element that is complete."""
        if self._statement is None:
            return
        if name == "Bal" and element.getparent() is self._statement:
            code = text_at(element, "Tp/CdOrPrtry/Cd")
            if code == _CLOSING:
                self._balances[code] = element
            else:
                self._balances.setdefault(code, element)
        elif name == "Ntry" and element.getparent() is self._statement:
            yield from self._entry(element)
            _forget_former(element)
        elif element is self._statement:
            yield from self._end(element)

    def _begun(self, first_entry: Element | None) -> Iterator[StatementEvent]:
        """The head, before the first entry."""
        if self._head is None and self._statement is not None:
            currency = self._currency(first_entry)
            units = self._minor_units(currency)
            if units is None:
                line = self._statement.sourceline or 0
                raise UnreadableStatement(line, f"the account's currency {currency!r} is unknown")
            name = text_at(self._statement, "Id")
            self._head = StatementHead(self.statements, self._account(), currency, units, name, names_lines=True)
            yield self._head

    def _account(self) -> str:
        assert self._statement is not None
        for path in ("Acct/Id/IBAN", "Acct/Id/Othr/Id", "Acct/Id/PrtryAcct/Id"):
            if found := text_at(self._statement, path):
                return found
        return self._options.account

    def _currency(self, first_entry: Element | None) -> str:
        """The account's currency; where the account has none, that of its balances, and then of its first entry."""
        assert self._statement is not None
        if found := text_at(self._statement, "Acct/Ccy"):
            return found
        codes = [*_OPENING, _CLOSING, *self._balances]
        elements = [self._balances[code] for code in codes if code in self._balances]
        for element in (*elements, *([] if first_entry is None else [first_entry])):
            amount = element.find("{*}Amt")
            if amount is not None and amount.get("Ccy"):
                return str(amount.get("Ccy"))
        return ""

    def _entry(self, entry: Element) -> Iterator[StatementEvent]:
        self._position += 1
        yield from self._begun(entry)
        assert self._head is not None
        status = text_at(entry, "Sts/Cd") or text_at(entry, "Sts")
        if status != "BOOK" and status:
            yield NotBooked(self.statements)
            return
        try:
            if not status:
                raise _NoEntry("the entry has no status, so nobody knows whether it is booked")
            yield from self._lines(entry, self._head)
        except (InexactAmount, InvalidDay, _NoEntry) as error:
            yield RefusedLine(entry.sourceline or 0, self._position, str(error), self.statements)

    def _lines(self, entry: Element, head: StatementHead) -> list[StatementLine]:
        sign, amount = self._sign(entry), self._amount(entry, head)
        value_on = iso_day_in(entry, "ValDt")
        booked_on = iso_day_in(entry, "BookgDt") or value_on
        if booked_on is None:
            raise _NoEntry("the entry has no date")
        line_id = "" if self._options.ignores_ids else text_at(entry, "AcctSvcrRef")
        whole = self._line(entry, booked_on, value_on, sign * amount, line_id)
        details = details_of(entry, head, sign)
        if len(details) < 2 and (not details or details[0].amount_minor == whole.amount_minor):
            element = entry.find("{*}NtryDtls/{*}TxDtls")
            is_sole = len(entry.findall("{*}NtryDtls/{*}TxDtls")) == 1
            return [describe(whole, element) if is_sole and element is not None else whole]
        batch_id = text_at(entry, "AcctSvcrRef") or text_at(entry, "NtryRef")
        parts = [
            describe(
                replace(whole, amount_minor=one.amount_minor, line_id=line_id and f"{line_id}/{n}", batch_id=batch_id),
                one.element,
            )
            for n, one in enumerate(details, start=1)
        ]
        rest = whole.amount_minor - sum(one.amount_minor for one in parts)
        if abs(rest) > MAX_MINOR:
            raise _NoEntry("what its details leave is out of range")
        if rest:
            kind = "fee" if abs(rest) == fee_total(entry, head) else "remainder"
            part_id = line_id and f"{line_id}/{kind}"
            parts.append(replace(whole, amount_minor=rest, kind=kind, line_id=part_id, batch_id=batch_id))
        return parts

    def _line(
        self, entry: Element, booked_on: date, value_on: date | None, amount_minor: int, line_id: str
    ) -> StatementLine:
        codes = [text_at(entry, f"BkTxCd/Domn/{path}") for path in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
        return StatementLine(
            statement=self.statements,
            line=entry.sourceline or 0,
            position=self._position,
            booked_on=booked_on,
            value_on=value_on,
            amount_minor=amount_minor,
            line_id=line_id,
            kind="-".join(one for one in codes if one) or text_at(entry, "BkTxCd/Prtry/Cd"),
            reference=text_at(entry, "NtryRef"),
            text=text_at(entry, "AddtlNtryInf"),
            details={"reversal": "yes"} if _is_reversal(entry) else {},
        )

    def _sign(self, element: Element) -> int:
        mark = _mark(element)
        is_inverted = self._options.inverts_reversals and _is_reversal(element)
        return -_SIGNS[mark] if is_inverted else _SIGNS[mark]

    def _amount(self, element: Element, head: StatementHead) -> int:
        """The amount without its sign, in the account's currency."""
        amount, *others = element.findall("{*}Amt") or [None]
        if amount is None:
            raise _NoEntry("there is no amount")
        if others:
            raise _NoEntry("there is more than one amount")
        if amount.get("Ccy") != head.currency_code:
            raise _NoEntry(f"the amount is in {amount.get('Ccy')!r}, and the account in {head.currency_code}")
        text = amount_text(amount)
        found = minor(text, head.minor_units, decimal_mark=".")
        if found < 0:
            raise InexactAmount(text, "is negative; its direction belongs into CdtDbtInd")
        return found

    def _end(self, statement: Element) -> Iterator[StatementEvent]:
        yield from self._begun(None)
        assert self._head is not None
        opening_code = next((code for code in _OPENING if code in self._balances), "")
        opening, why_opening = self._balance(opening_code, self._head, "opening")
        closing, why_closing = self._balance(_CLOSING, self._head, "closing")
        missing = "; ".join(one for one in (why_opening, why_closing) if one)
        yield Page(self.statements, statement.sourceline or 0, opening, closing, missing)
        statement.clear()
        self._statement = None

    def _balance(self, code: str, head: StatementHead, name: str) -> tuple[Balance | None, str]:
        """A balance, or why there is none that can be used."""
        element = self._balances.get(code)
        if element is None:
            return None, f"there is no {name} balance"
        try:
            return Balance(_SIGNS[_mark(element)] * self._amount(element, head), iso_day_in(element, "Dt")), ""
        except (InexactAmount, InvalidDay, _NoEntry) as error:
            return None, f"the {name} balance cannot be used: {error}"


def _mark(element: Element) -> str:
    """Which way an element moves the account, or on which side a balance is."""
    marks = [clean(one.text) for one in element.findall("{*}CdtDbtInd")]
    if len(marks) != 1 or marks[0] not in _SIGNS:
        raise _NoEntry(f"CdtDbtInd must be CRDT or DBIT, not {' and '.join(marks)!r}")
    return marks[0]


def _is_reversal(element: Element) -> bool:
    return text_at(element, "RvslInd").lower() in ("true", "1")


def _forget_former(entry: Element) -> None:
    """Free the entry before this one. The parser still needs this one."""
    former = entry.getprevious()
    parent = entry.getparent()
    if former is not None and parent is not None and local_name(former) == "Ntry":
        parent.remove(former)
