"""The form of a journal: what was typed, what is wrong with it, and the request that it makes.

The form carries everything with it, so it works without scripts: each button sends the whole form, and the answer shows
it again with a leg more or less, or with what a dry run says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from typing import Any

from flask import request

from app.api.fields import number_of
from app.dashboard.context import here
from app.dashboard.formats import money, read_moment, read_money
from app.domain.accounts import AccountFacts, normal_sign
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_proposals import JournalProposal, JournalTemplate, TemplateLine
from app.domain.journals import FEWEST_ENTRIES, MOST_ENTRIES, JournalLine, JournalRequest

FIRST_LEGS = 4
LONGEST_REASON = 1_000


@dataclass(slots=True)
class Leg:
    """One row of the form as typed; `currency_code` is empty until the account is known."""

    account_id: str = ""
    debit: str = ""
    credit: str = ""
    currency_code: str = ""
    error: str = ""
    amount_minor: int | None = None
    """Debit positive; None until it can be read."""

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed."""
        return not (self.account_id or self.debit or self.credit)


@dataclass(slots=True)
class Balance:
    """A currency's totals in minor units."""

    currency_code: str
    debit_minor: int = 0
    credit_minor: int = 0

    @property
    def difference_minor(self) -> int:
        """Debits less credits."""
        return self.debit_minor - self.credit_minor


@dataclass(slots=True)
class JournalForm:
    """A journal as typed. `errors` are by field; a row has its own."""

    external_id: str = ""
    effective_at: str = ""
    reason: str = ""
    payment_id: str = ""
    legs: list[Leg] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def filled(self) -> list[Leg]:
        """The rows that hold something."""
        return [leg for leg in self.legs if not leg.is_blank]

    @property
    def totals(self) -> list[Balance]:
        """The totals of what can be read, by currency."""
        found: dict[str, Balance] = {}
        for leg in self.legs:
            if leg.amount_minor is None or not leg.currency_code:
                continue
            total = found.setdefault(leg.currency_code, Balance(leg.currency_code))
            total.debit_minor += max(leg.amount_minor, 0)
            total.credit_minor += max(-leg.amount_minor, 0)
        return list(found.values())

    @property
    def is_readable(self) -> bool:
        """Whether everything in it could be read."""
        return not self.errors and not any(leg.error for leg in self.legs)

    def add_leg(self) -> None:
        """One row more, up to the most that a journal has."""
        if len(self.legs) < MOST_ENTRIES:
            self.legs.append(Leg())

    def remove_leg(self, text: str) -> None:
        """One row less; the first is number 1."""
        number = number_of(text) or 0
        if 1 <= number <= len(self.legs):
            del self.legs[number - 1]

    def read(self) -> JournalRequest | None:
        """Read what was typed; None if it is no journal yet, and then the errors say why."""
        facts = _facts([leg.account_id for leg in self.filled])
        for leg in self.filled:
            _read_leg(leg, facts.get(leg.account_id))
        effective_at = self._effective_at()
        if not self.reason:
            self.errors["reason"] = "Say why: the reason is kept with the journal."
        if not self.external_id:
            self.errors["external_id"] = "The external id tells this journal from every other."
        if len(self.filled) < FEWEST_ENTRIES:
            self.errors["legs"] = f"A journal has at least {FEWEST_ENTRIES} legs."
        for total in self.totals:
            if total.difference_minor and self.is_readable:
                self.errors["legs"] = _unbalanced(total)
        if not self.is_readable:
            return None
        amounts = [(leg.account_id, leg.amount_minor or 0) for leg in self.filled]
        lines = [JournalLine(account_id, minor > 0, abs(minor)) for account_id, minor in amounts]
        return JournalRequest(self.external_id, lines, self.reason, effective_at, None, self.payment_id or None)

    def _effective_at(self) -> datetime | None:
        if not self.effective_at:
            return None
        try:
            return read_moment(self.effective_at)
        except ValueError as error:
            self.errors["effective_at"] = str(error)
            return None

    def template(self, name: str) -> JournalTemplate:
        """The lines to enter again; amounts that cannot be read are left out."""
        facts = _facts([leg.account_id for leg in self.filled])
        for leg in self.filled:
            _read_leg(leg, facts.get(leg.account_id))
        lines = [TemplateLine(leg.account_id, bool(leg.debit) or not leg.credit, _absolute(leg)) for leg in self.filled]
        return JournalTemplate(name, lines, self.reason)


def _absolute(leg: Leg) -> int | None:
    return None if leg.amount_minor is None else abs(leg.amount_minor)


def _facts(account_ids: Sequence[str]) -> Mapping[str, AccountFacts]:
    return here().api.directory.snapshot().facts(list(dict.fromkeys(account_ids)))


def _read_leg(leg: Leg, facts: AccountFacts | None) -> None:
    """The amount and the currency of a row, or what is wrong with it."""
    leg.error, leg.amount_minor = "", None
    if facts is None:
        leg.currency_code = ""
        leg.error = f"There is no account {leg.account_id!r}." if leg.account_id else "Name the account."
        return
    leg.currency_code = facts.currency_code
    if bool(leg.debit) == bool(leg.credit):
        leg.error = "A leg has either a debit or a credit."
        return
    try:
        amount_minor = read_money(leg.debit or leg.credit, facts.currency_code)
    except ValueError as error:
        leg.error = str(error)
        return
    if amount_minor <= 0:
        leg.error = "An amount is more than zero; the side says which way it goes."
        return
    leg.amount_minor = amount_minor if leg.debit else -amount_minor


def _unbalanced(total: Balance) -> str:
    side = "Debits" if total.difference_minor > 0 else "Credits"
    amount = money(abs(total.difference_minor), total.currency_code)
    return f"{side} are higher by {amount} {total.currency_code}; they must be equal in each currency."


# Where a form comes from


def typed() -> JournalForm:
    """The form that was sent."""
    columns = [[one.strip() for one in request.form.getlist(name)] for name in ("account_id", "debit", "credit")]
    rows = zip(*columns, strict=False)
    return JournalForm(
        external_id=_field("external_id"),
        effective_at=_field("effective_at"),
        reason=_field("reason")[:LONGEST_REASON],
        payment_id=_field("payment_id"),
        legs=[Leg(*row) for row in list(rows)[:MOST_ENTRIES]],
    )


def _field(name: str) -> str:
    return request.form.get(name, "").strip()


def blank() -> JournalForm:
    """An empty form with an id of its own."""
    return JournalForm(external_id=new_external_id("journal"), legs=[Leg() for _ in range(FIRST_LEGS)])


def new_external_id(kind: str) -> str:
    """An id that nobody else chooses, and that a person can read out."""
    return f"{kind}-{here().now():%Y-%m-%d}-{token_hex(3)}"


def from_template(template: JournalTemplate) -> JournalForm:
    """A form with a template's lines."""
    facts = _facts([line.account_id for line in template.lines])
    legs = [_leg(line.account_id, line.is_debit, line.amount_minor, facts) for line in template.lines]
    return JournalForm(external_id=new_external_id("journal"), reason=template.reason, legs=legs)


def from_proposal(proposal: JournalProposal) -> JournalForm:
    """A form with what was proposed before and returned."""
    wanted = proposal.content
    facts = _facts([line.account_id for line in wanted.lines])
    legs = [_leg(line.account_id, line.amount_minor > 0, abs(line.amount_minor), facts) for line in wanted.lines]
    at = "" if wanted.effective_at is None else f"{wanted.effective_at:%Y-%m-%d %H:%M:%S}"
    return JournalForm(new_external_id("journal"), at, wanted.reason, wanted.relates_to or "", legs)


def _leg(account_id: str, is_debit: bool, amount_minor: int | None, facts: Mapping[str, AccountFacts]) -> Leg:
    known = facts.get(account_id)
    code = "" if known is None else known.currency_code
    amount = "" if amount_minor is None or not code else money(amount_minor, code)
    signed = None if not amount or amount_minor is None else amount_minor if is_debit else -amount_minor
    return Leg(account_id, amount if is_debit else "", "" if is_debit else amount, code, "", signed)


# What a dry run says


@dataclass(slots=True, frozen=True)
class Effect:
    """What a journal does to one account; minor units on its own side."""

    account_id: str
    currency_code: str
    before_minor: int
    change_minor: int
    after_minor: int


def effects(transaction: LedgerTransaction) -> list[Effect]:
    """The balances before and after."""
    facts = _facts([entry.account_id for entry in transaction.entries])
    return [
        Effect(
            entry.account_id,
            entry.currency_code,
            entry.balance_minor - normal_sign(facts[entry.account_id].type) * entry.amount_minor,
            normal_sign(facts[entry.account_id].type) * entry.amount_minor,
            entry.balance_minor,
        )
        for entry in transaction.entries
    ]


def sums(lines: Sequence[Any]) -> list[tuple[str, int]]:
    """What moves, by currency: the debits of entries or of proposed lines, in minor units."""
    found: dict[str, int] = {}
    for one in lines:
        found[one.currency_code] = found.get(one.currency_code, 0) + max(one.amount_minor, 0)
    return list(found.items())
