"""What pages read from their addresses: filters, with a sentence for each that cannot be read."""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from flask import g, request

from app.api.fields import number_of

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


class Filters:
    """The filters of one request; `errors` says by name which could not be read, and those count as left out."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def text(self, name: str) -> str:
        """What was typed, without blanks around it."""
        text = request.args.get(name, "").strip()
        if text:
            g.setdefault("asked_for", {})[name] = text
        return text

    def read(self, name: str, reader: Callable[[str], T]) -> T | None:
        """What the reader makes of the text; None if there is none, or if it cannot be read."""
        text = self.text(name)
        if not text:
            return None
        try:
            return reader(text)
        except ValueError as error:
            self.errors[name] = str(error)
            return None

    def choice(self, name: str, kind: type[Choice]) -> Choice | None:
        """One of several words."""
        return self.read(name, lambda text: _one_of(text, kind))

    def number(self, name: str) -> int | None:
        """A whole number, as links between pages have them."""
        return self.read(name, _number)


NAMED_BY_THE_PAGE = frozenset({"format", "q", "open", "match", "what", "by"})
"""Parameters that narrow nothing, or that the page itself puts into words."""


def asked_for() -> str:
    """The filters that the current page has read, in words: print has no form that shows them."""
    read: dict[str, str] = g.get("asked_for", {})
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in read.items() if name not in NAMED_BY_THE_PAGE)


def _one_of(text: str, kind: type[Choice]) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is none of {', '.join(kind)}.") from None


def _number(text: str) -> int:
    found = number_of(text)
    if found is None:
        raise ValueError(f"{text!r} is not a whole number.")
    return found
