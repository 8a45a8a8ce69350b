"""What is matched: lines of statements, entries of the ledger, and what a rule has found.

Both sides have the sign of the account's holder: what comes in is positive, a debit of the ledger's account.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from app.domain.matching_rules import Rule


class OpenLine(NamedTuple):
    """A line of a statement, as rules see it. `is_open`: it has no match yet."""

    statement_line_id: int
    amount_minor: int
    day: date
    line_id: str
    reference: str
    batch_id: str
    kind: str
    counterparty: str
    text: str
    details: Mapping[str, str]
    is_open: bool = True


class OpenEntry(NamedTuple):
    """An entry of the ledger's account, as rules see it; `metadata` are the members that rules read, in their order."""

    entry_number: int
    amount_minor: int
    day: date
    external_id: str
    payment_id: str
    description: str
    metadata: tuple[str | None, ...] = ()


Key = tuple[str, ...]

Parts = tuple[tuple[int, ...], tuple[int, ...]]
"""The lines and the entries of a match, by their numbers in order."""

_WORD_END = re.compile(r"[\s,;+()\[\]\"'?]+")
_TRIM = ".:/-#"


def words_of(line: OpenLine) -> list[str]:
    """What could be an id in a line: its reference and id as they are, and each word of reference and text."""
    words = [one for one in (line.reference, line.line_id) if one]
    words += [word for text in (line.reference, line.text) for word in split_words(text)]
    return list(dict.fromkeys(words))


def split_words(text: str) -> Iterator[str]:
    """The words of a text, with and without what is punctuation at their ends."""
    for word in _WORD_END.split(text):
        if word:
            yield word
            trimmed = word.strip(_TRIM)
            if trimmed and trimmed != word:
                yield trimmed


@dataclass(slots=True, frozen=True)
class FoundMatch:
    """A match with its rule; minor units. `is_suggestion`: a person decides."""

    rule: Rule
    lines: Sequence[OpenLine]
    entries: Sequence[OpenEntry]
    key: Key
    is_suggestion: bool

    @property
    def lines_minor(self) -> int:
        """What the lines add up to."""
        return sum(one.amount_minor for one in self.lines)

    @property
    def entries_minor(self) -> int:
        """What the entries add up to."""
        return sum(one.amount_minor for one in self.entries)

    @property
    def settled_on(self) -> date:
        """The day on which both sides have it: the last one of all."""
        return max(self._days())

    @property
    def days_apart(self) -> int:
        """Days between the first and the last one."""
        return (self.settled_on - min(self._days())).days

    def _days(self) -> list[date]:
        return [*(line.day for line in self.lines), *(entry.day for entry in self.entries)]

    def parts(self) -> Parts:
        """Its lines and entries, by their numbers."""
        lines = tuple(sorted(one.statement_line_id for one in self.lines))
        return lines, tuple(sorted(one.entry_number for one in self.entries))
