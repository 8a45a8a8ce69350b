"""The details of a CAMT entry: the payments that one booking stands for, and who and what each is about."""

from dataclasses import dataclass, replace

from app.domain.statement import StatementHead, StatementLine
from app.statements.amounts import InexactAmount, minor
from app.statements.camt_elements import Element, amount_text, text_at
from app.statements.texts import clean

_AMOUNTS = ("Amt", "AmtDtls/TxAmt/Amt")
_REFERENCES = ("EndToEndId", "InstrId", "TxId", "MndtId")
_NO_REFERENCE = "NOTPROVIDED"


@dataclass(slots=True, frozen=True)
class Detail:
    """One payment of an entry, signed minor units."""

    element: Element
    amount_minor: int


def details_of(entry: Element, head: StatementHead, sign: int) -> list[Detail]:
    """The payments of an entry of that sign; none unless each has an amount in the account's currency."""
    mark = text_at(entry, "CdtDbtInd")
    details = []
    for element in entry.findall("{*}NtryDtls/{*}TxDtls"):
        amount = _amount(element, head)
        if not amount:  # some banks write 0 where they mean that they say none
            return []
        own = text_at(element, "CdtDbtInd") or mark
        details.append(Detail(element, amount * (sign if own == mark else -sign)))
    return details


def _amount(element: Element, head: StatementHead) -> int | None:
    for path in _AMOUNTS:
        found = element.find("/".join(f"{{*}}{name}" for name in path.split("/")))
        if found is not None:
            return _in_currency(found, head)
    return None


def _in_currency(amount: Element, head: StatementHead) -> int | None:
    if amount.get("Ccy") != head.currency_code:
        return None
    try:
        return minor(amount_text(amount), head.minor_units, decimal_mark=".")
    except InexactAmount:
        return None


def fee_total(entry: Element, head: StatementHead) -> int | None:
    """The charges of an entry, or else of its details; None where they name none, or in another currency."""
    charges = entry.findall("{*}Chrgs") or entry.findall("{*}NtryDtls/{*}TxDtls/{*}Chrgs")
    totals = [_charge(one, head) for one in charges]
    known = [one for one in totals if one is not None]
    return sum(known) if known and len(known) == len(totals) else None


def _charge(charges: Element, head: StatementHead) -> int | None:
    total = charges.find("{*}TtlChrgsAndTaxAmt")
    parts = [total] if total is not None else charges.findall("{*}Rcrd/{*}Amt") or charges.findall("{*}Amt")
    amounts = [_in_currency(one, head) for one in parts]
    known = [one for one in amounts if one is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def describe(line: StatementLine, element: Element) -> StatementLine:
    """The line with the references, the other party and the texts of a detail."""
    found = (text_at(element, f"Refs/{name}") for name in _REFERENCES)
    references = [one for one in found if one and one != _NO_REFERENCE]
    others = ("Dbtr", "Cdtr") if line.amount_minor > 0 else ("Cdtr", "Dbtr")
    names = [text_at(element, f"RltdPties/{party}/{path}") for party in others for path in ("Nm", "Pty/Nm")]
    return replace(
        line,
        reference=references[0] if references else _structured(element) or line.reference,
        counterparty=next((one for one in names if one), line.counterparty),
        text=_text(element) or line.text,
        details={**line.details, **_instructed(element)},
    )


def _structured(element: Element) -> str:
    return text_at(element, "RmtInf/Strd/CdtrRefInf/Ref")


def _text(element: Element) -> str:
    texts = [one.text or "" for one in element.findall("{*}RmtInf/{*}Ustrd")]
    return clean(" ".join([*texts, text_at(element, "AddtlTxInf")]))


def _instructed(element: Element) -> dict[str, str]:
    """The amount that the payer ordered, as the bank writes it: it moves nothing."""
    amount = element.find("{*}AmtDtls/{*}InstdAmt/{*}Amt")
    if amount is None:
        return {}
    return {"instructed": f"{clean(amount.get('Ccy'))} {clean(amount.text)}"}
