"""What a search for payments finds, and how a person's words are read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True, frozen=True)
class FoundTransaction:
    """A ledger transaction in a list; amounts in minor units by leg, debit positive."""

    payment_id: str
    external_id: str
    entity_id: str
    kind: str
    description: str | None
    posted_at: datetime
    account_ids: Sequence[str]
    currency_codes: Sequence[str]
    amounts: Sequence[int]

    @property
    def currency_code(self) -> str:
        """The currency of the first leg."""
        return self.currency_codes[0]

    @property
    def amount_minor(self) -> int:
        """What is debited in that currency in all."""
        legs = zip(self.currency_codes, self.amounts, strict=True)
        return sum(amount for code, amount in legs if code == self.currency_code and amount > 0)

    @property
    def debited(self) -> list[str]:
        """The accounts debited."""
        return [one for one, amount in zip(self.account_ids, self.amounts, strict=True) if amount > 0]

    @property
    def credited(self) -> list[str]:
        """The accounts credited."""
        return [one for one, amount in zip(self.account_ids, self.amounts, strict=True) if amount < 0]


@dataclass(slots=True, frozen=True)
class Words:
    """What was typed, taken apart: a day, an amount as it was written, a currency, and what is none of these."""

    day: str | None
    amount: str | None
    currency_code: str | None
    rest: str


_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_AMOUNT = re.compile(r"[-−+]?\d{1,3}(?:,\d{3})*(?:\.\d+)?|[-−+]?\d+(?:\.\d+)?", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,15}", re.ASCII)


def words_of(text: str) -> Words:
    """Take a search apart. A word that could be several things counts as the first of day, amount and currency."""
    day = amount = code = None
    rest = []
    for word in text.split():
        if day is None and _DAY.fullmatch(word):
            day = word
        elif amount is None and _AMOUNT.fullmatch(word):
            amount = word
        elif code is None and _CODE.fullmatch(word):
            code = word
        else:
            rest.append(word)
    return Words(day, amount, code, " ".join(rest))
