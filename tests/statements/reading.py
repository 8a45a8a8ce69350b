"""Reading statements in tests: texts in, events out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.statement import NotBooked, Page, RefusedLine, StatementHead, StatementLine
from app.domain.statement_proof import FileTally, StatementTally
from app.domain.statement_source import StatementFormat, read_options
from app.statements.amounts import WITHDRAWN
from app.wiring.services import iso_currencies
from app.wiring.statements import READERS


def minor_units(currency_code: str) -> int | None:
    asset = iso_currencies().get(currency_code)
    return WITHDRAWN.get(currency_code) if asset is None else asset.minor_units


@dataclass
class Read:
    """What a reader made of a file."""

    heads: list[StatementHead] = field(default_factory=list)
    lines: list[StatementLine] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    not_booked: int = 0
    tally: FileTally = field(default_factory=FileTally)

    @property
    def amounts(self) -> list[int]:
        return [line.amount_minor for line in self.lines]

    @property
    def proofs(self) -> list[str]:
        return [statement.proof.value for statement in self.tally.statements.values()]

    @property
    def only(self) -> StatementTally:
        [statement] = self.tally.statements.values()
        return statement


def read(
    format: str, content: str | bytes, encoding: str = "utf-8", options: Mapping[str, Any] | None = None, **more: Any
) -> Read:
    """Read a file of a format with the options of its source."""
    found = Read()
    raw = content.encode(encoding) if isinstance(content, str) else content
    checked = read_options(StatementFormat(format), {**(options or {}), **more})
    for event in READERS[StatementFormat(format)](io.BytesIO(raw), checked, minor_units):
        found.tally.take(event, 1_000)
        if isinstance(event, StatementHead):
            found.heads.append(event)
        elif isinstance(event, StatementLine):
            found.lines.append(event)
        elif isinstance(event, RefusedLine):
            found.refused.append(event)
        elif isinstance(event, Page):
            found.pages.append(event)
        else:
            assert isinstance(event, NotBooked)
            found.not_booked += 1
    found.tally.end()
    return found


def mt940(*lines: str, opening: str = "C251230EUR100,00", closing: str = "", page: str = "1/1", kind: str = "F") -> str:
    """A page with these fields between its balances."""
    fields = [":20:START", ":25:10020030/1234567", f":28C:{page}", f":60{kind}:{opening}", *lines]
    return "\n".join([*fields, *([f":62F:{closing}"] if closing else []), "-", ""])


def camt(
    *entries: str,
    balances: Sequence[tuple[str, str, str]] = (),
    version: str = "053.001.08",
    currency: str = "EUR",
    statement_id: str = "S1",
) -> str:
    """A document of one statement."""
    return camt_document(camt_statement(*entries, balances=balances, currency=currency, id=statement_id), version)


def camt_document(*statements: str, version: str = "053.001.08") -> str:
    body = "".join(statements)
    space = f"urn:iso:std:iso:20022:tech:xsd:camt.{version}"
    message = f"<BkToCstmrStmt><GrpHdr><MsgId>M</MsgId></GrpHdr>{body}</BkToCstmrStmt>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{space}">\n{message}</Document>'


def camt_statement(
    *entries: str, balances: Sequence[tuple[str, str, str]] = (), currency: str = "EUR", id: str = "S1"
) -> str:
    stated = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='{currency}'>{amount}</Amt>"
        f"<CdtDbtInd>{mark}</CdtDbtInd><Dt><Dt>2026-01-02</Dt></Dt></Bal>\n"
        for code, mark, amount in balances
    )
    account = f"<Acct><Id><IBAN>DE001</IBAN></Id><Ccy>{currency}</Ccy></Acct>"
    return f"<Stmt><Id>{id}</Id>{account}\n{stated}{''.join(entries)}</Stmt>\n"


def camt_entry(
    amount: str,
    mark: str = "CRDT",
    *,
    currency: str = "EUR",
    status: str = "<Cd>BOOK</Cd>",
    day: str = "<Dt>2026-01-02</Dt>",
    ref: str = "",
    more: str = "",
) -> str:
    """An entry; `more` is what comes after its reference."""
    named = f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else ""
    return (
        f"<Ntry><Amt Ccy='{currency}'>{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><Sts>{status}</Sts>"
        f"<BookgDt>{day}</BookgDt>{named}{more}</Ntry>\n"
    )


def ofx(*transactions: str, currency: str = "EUR", account: str = "1234", balance: str = "") -> str:
    """An OFX 1 file of one account."""
    stated = f"<LEDGERBAL><BALAMT>{balance}<DTASOF>20260131</LEDGERBAL>" if balance else ""
    return (
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
        f"<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>{currency}\n"
        f"<BANKACCTFROM><BANKID>B<ACCTID>{account}<ACCTTYPE>CHECKING</BANKACCTFROM>\n"
        f"<BANKTRANLIST>\n{''.join(transactions)}</BANKTRANLIST>{stated}</STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )


def ofx_transaction(amount: str, fitid: str = "", *, day: str = "20260115", memo: str = "m") -> str:
    """A transaction without end tags of its elements."""
    named = f"<FITID>{fitid}\n" if fitid else ""
    return f"<STMTTRN>\n<TRNTYPE>OTHER\n<DTPOSTED>{day}\n<TRNAMT>{amount}\n{named}<MEMO>{memo}\n</STMTTRN>\n"


STRIPE_HEADER = "id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),Available On (UTC),Description,Transfer"


def stripe(*rows: str, header: str = STRIPE_HEADER) -> str:
    """An export of balance transactions."""
    return "\n".join([header, *rows, ""])


def stripe_row(
    id: str, kind: str, amount: str, fee: str = "0.00", net: str = "", *, payout: str = "", currency: str = "eur"
) -> str:
    """A row of the export; the net amount is the amount unless it is given."""
    days = "2026-01-02 02:14,2026-01-09 00:00"
    return f'{id},{kind},src_{id},"{amount}","{fee}","{net or amount}",{currency},{days},text of {id},{payout}'


CSV_OPTIONS: dict[str, Any] = {"columns": {"booked_on": "Date", "amount": "Amount", "text": "Text"}, "currency": "EUR"}
