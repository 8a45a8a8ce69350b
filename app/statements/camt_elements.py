"""Elements of CAMT, found by their local names: every version and every bank has another namespace."""

from datetime import date
from typing import Any

from app.statements.amounts import InexactAmount
from app.statements.dates import iso_day
from app.statements.texts import clean

Element = Any
"""An element of lxml, whose classes are not for naming."""


def local_name(element: Element) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def text_at(element: Element, path: str) -> str:
    """The text at a path such as `Acct/Id/IBAN`; empty where there is none."""
    found = element.find("/".join(f"{{*}}{name}" for name in path.split("/")))
    return "" if found is None else clean(found.text)


def amount_text(element: Element) -> str:
    """What an amount element says; raises InexactAmount if other elements stand in it, for then it says two things."""
    text = str(element.text or "")
    if len(element):
        raise InexactAmount(text, "has elements in it")
    return text


def iso_day_in(element: Element, path: str) -> date | None:
    """The day in a date element, which holds a date or a date-time; None where there is none. Raises InvalidDay."""
    text = text_at(element, f"{path}/Dt") or text_at(element, f"{path}/DtTm")
    return iso_day(text) if text else None
