"""Signing off: what both sides say of a period, what explains their difference, and what still bars a signature.

All amounts are minor units. A balance of a day is the one at its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from app.domain.money import as_money
from app.domain.timestamps import rfc3339
from app.domain.wording import counted

MOST_OUTSTANDING = 5_000
"""Outstanding items kept one by one in a summary; their number and sum are kept in full."""


class Opening(StrEnum):
    """Where the bank's opening balance comes from."""

    STATED = "stated"
    DERIVED = "derived"
    """The bank states closing balances only; it is what the first one leaves."""
    ASSUMED = "assumed"
    """The bank states no balance at all; it is taken to be the ledger's."""


@dataclass(slots=True, frozen=True)
class DayFigures:
    """What moved on one day; `stated_minor` is the balance that the bank states at its end."""

    day: date
    bank_in_minor: int = 0
    bank_out_minor: int = 0
    line_count: int = 0
    ledger_in_minor: int = 0
    ledger_out_minor: int = 0
    entry_count: int = 0
    stated_minor: int | None = None


@dataclass(slots=True, frozen=True)
class Outstanding:
    """A line or an entry that the other side has not by the end of the period.

    `settled_on`: the later day on which it has been matched since. Owner and state are those of its break.
    """

    side: str
    id: str
    day: date
    amount_minor: int
    text: str
    reason: str
    state: str
    owner: str | None
    settled_on: date | None = None

    @property
    def needs_owner(self) -> bool:
        """Whether nobody answers for it yet; what is suggested waits for a decision, not for an owner."""
        return self.settled_on is None and self.state not in ("accepted", "suggested") and not self.owner


@dataclass(slots=True)
class PeriodFigures:
    """Both sides of a period.

    `brought_forward_minor`: bank less ledger on the day before matching began, without what was cleared since.
    """

    first_on: date
    last_on: date
    currency_code: str
    minor_units: int
    opening: Opening
    bank_opening_minor: int
    ledger_opening_minor: int
    days: Sequence[DayFigures]
    only_bank_count: int
    only_bank_minor: int
    only_ledger_count: int
    only_ledger_minor: int
    match_difference_minor: int
    brought_forward_minor: int
    suggestion_count: int
    covered_through: date | None
    signed_through: date | None
    former_bank_closing_minor: int | None
    former_ledger_closing_minor: int | None
    outstanding: Sequence[Outstanding] = field(default_factory=list)

    @property
    def bank_in_minor(self) -> int:
        """Money in, as the bank states it."""
        return sum(day.bank_in_minor for day in self.days)

    @property
    def bank_out_minor(self) -> int:
        """Money out, as the bank states it; negative."""
        return sum(day.bank_out_minor for day in self.days)

    @property
    def ledger_in_minor(self) -> int:
        """Money in, in the ledger."""
        return sum(day.ledger_in_minor for day in self.days)

    @property
    def ledger_out_minor(self) -> int:
        """Money out, in the ledger; negative."""
        return sum(day.ledger_out_minor for day in self.days)

    @property
    def bank_closing_minor(self) -> int:
        """The bank's balance at the end."""
        return self.bank_opening_minor + self.bank_in_minor + self.bank_out_minor

    @property
    def ledger_closing_minor(self) -> int:
        """The ledger's balance at the end."""
        return self.ledger_opening_minor + self.ledger_in_minor + self.ledger_out_minor

    @property
    def unexplained_minor(self) -> int:
        """What the bridge from the bank's closing balance to the ledger's does not explain."""
        explained = self.only_bank_minor - self.only_ledger_minor + self.match_difference_minor
        return self.bank_closing_minor - self.ledger_closing_minor - explained - self.brought_forward_minor

    def balances(self) -> list[tuple[DayFigures, int, int]]:
        """Each day with the balances of bank and ledger at its end."""
        bank, ledger, found = self.bank_opening_minor, self.ledger_opening_minor, []
        for day in self.days:
            bank += day.bank_in_minor + day.bank_out_minor
            ledger += day.ledger_in_minor + day.ledger_out_minor
            found.append((day, bank, ledger))
        return found

    def contradictions(self) -> list[tuple[date, int, int]]:
        """Days on which the bank states another balance than its lines lead to: day, stated, computed."""
        return [
            (day.day, day.stated_minor, bank)
            for day, bank, _ in self.balances()
            if day.stated_minor is not None and day.stated_minor != bank
        ]

    def missing(self) -> list[str]:
        """What bars a signature, in sentences; nothing if it may be signed."""
        found = []
        if self.signed_through is not None and self.first_on <= self.signed_through:
            found.append(f"Everything up to {self.signed_through} is signed off already.")
        if self.covered_through is None or self.covered_through < self.last_on:
            found.append(f"The statements reach {self.covered_through or 'no day'}, and not {self.last_on}.")
        for day, stated, computed in self.contradictions()[:3]:
            states, leads_to = self._money(stated), self._money(computed)
            found.append(f"On {day} the bank states {states}, and its lines lead to {leads_to}.")
        formers = (self.former_bank_closing_minor, self.former_ledger_closing_minor)
        openings = (self.bank_opening_minor, self.ledger_opening_minor)
        for name, former, opening in zip(("bank's", "ledger's"), formers, openings, strict=True):
            if former is not None and former != opening:
                is_now, was_signed = self._money(opening), self._money(former)
                found.append(f"The {name} opening balance is {is_now}, and {was_signed} was signed off.")
        if self.unexplained_minor:
            found.append(f"{self._money(self.unexplained_minor)} is not explained.")
        if self.suggestion_count:
            found.append(f"{counted(self.suggestion_count, 'suggestion is', 'suggestions are')} undecided.")
        if unowned := sum(one.needs_owner for one in self.outstanding):
            found.append(f"{counted(unowned, 'outstanding item has', 'outstanding items have')} no owner.")
        return found

    @property
    def is_empty(self) -> bool:
        """Whether it ends before it begins, because its last day is signed off or lies before matching began."""
        return self.last_on < self.first_on

    def bars(self, remark: str) -> list[str]:
        """What bars a signature with this remark, in sentences."""
        if self.is_empty:
            return [f"{self.last_on} is before {self.first_on}, the first day that is not signed off."]
        found = self.missing()
        if self.needs_remark() and not remark:
            found.append("The bank states no balance; say in a remark what the opening balance rests on.")
        return found

    def _money(self, amount_minor: int) -> str:
        return f"{as_money(amount_minor, self.minor_units)} {self.currency_code}"

    def needs_remark(self) -> bool:
        """Whether the signature needs a remark that says what the opening balance rests on."""
        return self.opening is Opening.ASSUMED and self.former_bank_closing_minor is None

    def as_json(self) -> dict[str, Any]:
        """All of it, as it is signed."""
        whole = asdict(self)
        whole["outstanding"] = whole["outstanding"][:MOST_OUTSTANDING]
        for name in ("bank_closing_minor", "ledger_closing_minor", "unexplained_minor"):
            whole[name] = getattr(self, name)
        for name in ("signed_through", "former_bank_closing_minor", "former_ledger_closing_minor"):
            del whole[name]
        return whole


class SignOffAction(StrEnum):
    """What a record says."""

    SIGNED = "signed"
    REOPENED = "reopened"


@dataclass(slots=True, frozen=True)
class SignOff:
    """One record of the chain of an account. A new version of a period names the one that it takes the place of."""

    statement_account_id: int
    number: int
    action: SignOffAction
    first_on: date
    last_on: date
    version: int
    former_id: int | None
    signed_through: date | None
    summary: str
    reason: str
    signed_by: str
    signed_at: datetime
    previous_hash: bytes
    hash: bytes = b""
    sign_off_id: int = 0

    def figures(self) -> Mapping[str, Any]:
        """What was signed."""
        found: Mapping[str, Any] = json.loads(self.summary)
        return found

    def computed_hash(self) -> bytes:
        """The hash over all of it and over the record before it."""
        content = [
            self.statement_account_id,
            self.number,
            self.action.value,
            self.first_on.isoformat(),
            self.last_on.isoformat(),
            self.version,
            self.former_id,
            None if self.signed_through is None else self.signed_through.isoformat(),
            self.summary,
            self.reason,
            self.signed_by,
            rfc3339(self.signed_at),
            self.previous_hash.hex(),
        ]
        return sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).digest()


def canonical(summary: Mapping[str, Any]) -> str:
    """A summary as the text that is hashed."""
    return json.dumps(summary, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)


def last_signed(chain: Sequence[SignOff], signed_through: date | None) -> SignOff | None:
    """The version that stands of the period that ends with the last signed day; None if nothing is signed."""
    signed = (one for one in reversed(chain) if one.action is SignOffAction.SIGNED)
    return next((one for one in signed if one.last_on == signed_through), None)


def signed_version(chain: Sequence[SignOff], day: date) -> SignOff | None:
    """The newest signed version of the period that a day is in; None if there is none."""
    signed = (one for one in reversed(chain) if one.action is SignOffAction.SIGNED)
    return next((one for one in signed if one.first_on <= day <= one.last_on), None)


def first_broken(chain: Sequence[SignOff]) -> SignOff | None:
    """The first record that does not match its hash, or does not follow the one before it."""
    former = b""
    for number, one in enumerate(chain, start=1):
        if one.number != number or one.previous_hash != former or one.computed_hash() != one.hash:
            return one
        former = one.hash
    return None
