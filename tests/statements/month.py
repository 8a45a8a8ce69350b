"""A month of bank movements with twenty planted errors, as the ledger has it and as four kinds of files state it.

Nothing in it is left to chance: the same month comes out each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)
OPENING_MINOR = 10_000_000
MOVEMENTS = 180
CUSTOMERS = 12


@dataclass(frozen=True)
class Movement:
    """A payment of the ledger; minor units, money into the bank is positive."""

    reference: str
    day: date
    amount_minor: int
    customer: str


@dataclass(frozen=True)
class Stated:
    """A line of the bank."""

    id: str
    day: date
    amount_minor: int
    reference: str
    text: str


@dataclass
class Month:
    """Both sides, and what must come out as unmatched: the reason, and what names it.

    A line without an amount was left out.
    """

    payments: list[Movement] = field(default_factory=list)
    lines: list[Stated] = field(default_factory=list)
    planted: set[tuple[str, str]] = field(default_factory=set)
    first: date = FIRST
    last: date = LAST
    opening_minor: int = OPENING_MINOR

    @property
    def closing_minor(self) -> int:
        return self.opening_minor + sum(line.amount_minor for line in self.lines)


def right_month() -> Month:
    """The month as it should be: each payment is a line of the same day or up to two days later."""
    month = Month()
    for n in range(MOVEMENTS):
        day = FIRST + timedelta(days=n * 29 // MOVEMENTS)
        amount = (1_000 + 37 * n + (n * n) % 911) * (1 if n % 3 else -1)
        reference = f"mv-{n:04}"
        month.payments.append(Movement(reference, day, amount, f"customer:{n % CUSTOMERS}"))
        booked_on = min(day + timedelta(days=n % 3), LAST - timedelta(days=1))
        month.lines.append(Stated(f"B{n:05}", booked_on, amount, reference, f"Transfer {reference}"))
    return month


def planted_month() -> Month:
    """The month with twenty errors of all kinds."""
    month = right_month()
    book_twice_there(month, (20, 77, 131))
    _send_twice_here(month, (33, 95))
    _leave_out_here(month, (41, 88, 120))
    leave_out_there(month, (50, 66, 104))
    change_amounts(month, (60, 111, 142))
    charge(month, (date(2026, 1, 15), LAST))
    _send_late(month)
    take_back(month, (70, 125))
    assert len(month.planted) == 20
    month.lines.sort(key=lambda line: (line.day, line.id))
    return month


def book_twice_there(month: Month, numbers: Sequence[int]) -> None:
    """Have the bank state these lines once more, a day later."""
    for n in numbers:
        line = month.lines[n]
        month.lines.append(replace(line, id=f"{line.id}D", day=line.day + timedelta(days=1)))
        month.planted.add(("duplicate", f"{line.reference} {line.day + timedelta(days=1)}"))


def _send_twice_here(month: Month, numbers: Sequence[int]) -> None:
    for n in numbers:
        again = replace(month.payments[n], reference=f"{month.payments[n].reference}-again")
        month.payments.append(again)
        month.planted.add(("duplicate", again.reference))


def _leave_out_here(month: Month, numbers: Sequence[int]) -> None:
    for n in numbers:
        month.payments[n] = replace(month.payments[n], amount_minor=0)
        month.planted.add(("missing_here", f"{month.lines[n].reference} {month.lines[n].day}"))
    month.payments = [one for one in month.payments if one.amount_minor]


def leave_out_there(month: Month, numbers: Sequence[int]) -> None:
    """Have the bank state nothing of these movements."""
    for n in numbers:
        gone = month.lines[n]
        month.lines[n] = replace(gone, amount_minor=0)
        month.planted.add(("missing_there", gone.reference))


def change_amounts(month: Month, numbers: Sequence[int]) -> None:
    """Have the bank state other amounts."""
    for n in numbers:
        line = month.lines[n]
        month.lines[n] = replace(line, amount_minor=line.amount_minor + 9 * (1 if line.amount_minor > 0 else -1))
        month.planted.add(("amount_differs", f"{line.reference} {line.day}"))


def charge(month: Month, days: Sequence[date]) -> None:
    """Have the bank charge something on these days."""
    for n, day in enumerate(days):
        month.lines.append(Stated(f"F{n}", day, -1_250 - n, "", "Account charges"))
        month.planted.add(("fee", f"Account charges {day}"))


def _send_late(month: Month) -> None:
    for n, day in enumerate((date(2026, 1, 30), LAST)):
        month.payments.append(Movement(f"late-{n}", day, 44_400 + n, "customer:1"))
        month.planted.add(("timing", f"late-{n}"))


def take_back(month: Month, numbers: Sequence[int]) -> None:
    """Have the bank take these movements back, two days later."""
    for n in numbers:
        line = month.lines[n]
        back = Stated(f"R{n}", line.day + timedelta(days=2), -line.amount_minor, "", f"Return of {line.reference}")
        month.lines.append(back)
        month.planted.add(("reversed", f"{back.text} {back.day}"))


# As files


def money(amount_minor: int, mark: str = ".", *, signed: bool = True) -> str:
    sign = "-" if signed and amount_minor < 0 else ""
    return f"{sign}{abs(amount_minor) // 100}{mark}{abs(amount_minor) % 100:02}"


def _stated(month: Month) -> list[Stated]:
    return [line for line in month.lines if line.amount_minor]


def _mark(amount_minor: int, out: str, into: str) -> str:
    return out if amount_minor < 0 else into


def as_camt(month: Month) -> str:
    def balance(code: str, amount: int, day: date) -> str:
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{money(amount, signed=False)}</Amt>"
            f"<CdtDbtInd>{_mark(amount, 'DBIT', 'CRDT')}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n"
        )

    def entry(line: Stated) -> str:
        named = f"<Refs><EndToEndId>{line.reference}</EndToEndId></Refs>" if line.reference else ""
        details = f"{named}<RmtInf><Ustrd>{line.text}</Ustrd></RmtInf>"
        return (
            f"<Ntry><Amt Ccy='EUR'>{money(line.amount_minor, signed=False)}</Amt>"
            f"<CdtDbtInd>{_mark(line.amount_minor, 'DBIT', 'CRDT')}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
            f"<BookgDt><Dt>{line.day}</Dt></BookgDt><AcctSvcrRef>{line.id}</AcctSvcrRef>"
            f"<NtryDtls><TxDtls>{details}</TxDtls></NtryDtls></Ntry>\n"
        )

    body = balance("OPBD", month.opening_minor, month.first) + balance("CLBD", month.closing_minor, month.last)
    body += "".join(entry(line) for line in _stated(month))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
        "<BkToCstmrStmt><GrpHdr><MsgId>M</MsgId></GrpHdr><Stmt><Id>2026-01</Id><Acct><Id><IBAN>DE001</IBAN></Id>"
        f"<Ccy>EUR</Ccy></Acct>\n{body}</Stmt></BkToCstmrStmt></Document>"
    )


def as_mt940(month: Month) -> str:
    def balance(amount: int, day: date) -> str:
        return f"{_mark(amount, 'D', 'C')}{day:%y%m%d}EUR{money(amount, ',', signed=False)}"

    fields = [":20:START", ":25:10020030/1234567", ":28C:1/1", f":60F:{balance(month.opening_minor, month.first)}"]
    for line in _stated(month):
        mark = _mark(line.amount_minor, "D", "C")
        reference = line.reference or "NONREF"
        amount = money(line.amount_minor, ",", signed=False)
        fields += [f":61:{line.day:%y%m%d%m%d}{mark}{amount}NMSC{reference}", f":86:{line.text}"]
    return "\n".join([*fields, f":62F:{balance(month.closing_minor, month.last)}", "-", ""])


def as_ofx(month: Month) -> str:
    rows = "".join(
        f"<STMTTRN>\n<TRNTYPE>OTHER\n<DTPOSTED>{line.day:%Y%m%d}\n<TRNAMT>{money(line.amount_minor)}\n"
        f"<FITID>{line.id}\n<MEMO>{line.text}\n</STMTTRN>\n"
        for line in _stated(month)
    )
    return (
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
        "<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR\n"
        "<BANKACCTFROM><BANKID>B<ACCTID>1<ACCTTYPE>CHECKING</BANKACCTFROM>\n"
        f"<BANKTRANLIST>\n{rows}</BANKTRANLIST><LEDGERBAL><BALAMT>{money(month.closing_minor)}"
        f"<DTASOF>{month.last:%Y%m%d}</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )


CSV_OPTIONS: dict[str, Any] = {
    "columns": {
        "booked_on": "Tag",
        "amount": "Betrag",
        "id": "Nr",
        "reference": "Referenz",
        "text": "Text",
        "balance": "Saldo",
    },
    "delimiter": ";",
    "decimal_mark": ",",
    "date_format": "DD.MM.YYYY",
    "currency": "EUR",
}


def as_csv(month: Month) -> str:
    rows, balance = ["Tag;Betrag;Nr;Referenz;Text;Saldo"], month.opening_minor
    for line in _stated(month):
        balance += line.amount_minor
        amounts = (money(line.amount_minor, ","), money(balance, ","))
        rows.append(f"{line.day:%d.%m.%Y};{amounts[0]};{line.id};{line.reference};{line.text};{amounts[1]}")
    return "\n".join([*rows, ""])


FILES: dict[str, tuple[Callable[[Month], str], dict[str, Any]]] = {
    "camt": (as_camt, {}),
    "mt940": (as_mt940, {}),
    "ofx": (as_ofx, {}),
    "csv": (as_csv, CSV_OPTIONS),
}
"""Each format: how the month is written, and the options of its source."""
