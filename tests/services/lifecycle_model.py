"""Money on paper: a model of payments, authorizations, journals and refunds that predicts every answer of Holdfast.

It knows none of the product's code. Payments are called by their external ids.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from zlib import crc32

from tests.builders import PARTITIONS

WALLETS = ("alice", "bob", "carol", "dave")
ACCOUNTS = (*WALLETS, "bank")
FIRST_LIMITS = {"alice": 0, "bob": 0, "carol": 50, "dave": 50}
BARS_DEBITS = ("frozen", "frozen_debits")
BARS_CREDITS = ("frozen", "frozen_credits")

OK, AGAIN = "accepted", "replayed"

Part = tuple[str, str, Any]
"""A destination as asked for: account, and fixed (minor units), share (a decimal) or remainder."""


@dataclass(frozen=True)
class Content:
    """What a payment asks for."""

    source: str
    destinations: tuple[Part, ...]
    amount: int
    manual: bool = False


@dataclass
class Movement:
    """An accepted payment before it is posted: what its payer holds for it, and who will be credited."""

    external_id: str
    source: str
    held: int
    credits: list[tuple[str, int]]
    concludes: bool = False


@dataclass
class Paid:
    """A payment with an id: pending, posted, authorized, captured (and pending still), voided or expired."""

    source: str
    credits: list[tuple[str, int]]
    state: str
    is_authorization: bool
    captured: int = 0
    refunded: dict[str, int] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        return sum(part for _, part in self.credits)


def largest_remainder(exact: list[Fraction]) -> list[int]:
    """Round down; the units left over go to the parts that lost most."""
    parts = [int(one) for one in exact]
    losers = sorted(range(len(exact)), key=lambda n: (parts[n] - exact[n], n))
    for n in losers[: int(sum(exact)) - sum(parts)]:
        parts[n] += 1
    return parts


def in_proportion(total: int, weights: list[tuple[str, int]]) -> list[tuple[str, int]]:
    whole = sum(weight for _, weight in weights)
    parts = largest_remainder([Fraction(total * weight, whole) for _, weight in weights])
    return [(account, part) for (account, _), part in zip(weights, parts, strict=True) if part]


def split(content: Content) -> list[tuple[str, int]] | None:
    """What each destination gets; None if the parts do not add up to the amount."""
    total = content.amount
    asked = content.destinations
    shared = largest_remainder([Fraction(of) * total if how == "share" else Fraction(0) for _, how, of in asked])
    exact = sum(Fraction(of) * total if how == "share" else of for _, how, of in asked if how != "remainder")
    takers = [n for n, (_, how, _) in enumerate(asked) if how == "remainder"]
    if exact > total or (exact < total and not takers):
        return None
    parts = [of if how == "fixed" else shared[n] for n, (_, how, of) in enumerate(asked)]
    for n in takers:
        parts[n] = total - sum(parts)
    return [(account, part) for (account, _, _), part in zip(asked, parts, strict=True) if part]


@dataclass
class Model:
    """Double entry on paper: balances in the ledger, payments on their way, and answers given."""

    booked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    limits: dict[str, int] = field(default_factory=lambda: dict(FIRST_LIMITS))
    status: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, "open"))
    pending: list[Movement] = field(default_factory=list)
    paid: dict[str, Paid] = field(default_factory=dict)
    records: dict[str, tuple[Content, str]] = field(default_factory=dict)
    in_ledger: dict[str, Content] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    journals: dict[str, dict[str, int]] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    refunds: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    open_in_ledger: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The open authorizations that the ledger knows: payer and amount."""

    # Funds

    def held(self, account: str) -> int:
        promised = sum(one.held for one in self.pending if one.source == account)
        authorized = (one for one in self.paid.values() if one.state == "authorized" and one.source == account)
        return 0 if account == "bank" else promised + sum(one.amount for one in authorized)

    def available(self, account: str) -> int | None:
        """What may be spent; None is without limit."""
        if account == "bank":
            return None
        return self.booked[account] - self.held(account) + self.limits[account]

    def has(self, account: str, amount: int) -> bool:
        available = self.available(account)
        return available is None or amount <= available

    def barred(self, debited: list[str], credited: list[str]) -> bool:
        return any(self.status[one] in BARS_DEBITS for one in debited) or any(
            self.status[one] in BARS_CREDITS for one in credited
        )

    def move(self, debits: dict[str, int]) -> None:
        """Book amounts, debits positive: they lower every wallet and raise the bank."""
        assert sum(debits.values()) == 0
        for account, amount in debits.items():
            self.booked[account] += amount if account == "bank" else -amount

    def open(self, account: str) -> None:
        """One more wallet, without an overdraft."""
        self.booked[account], self.limits[account], self.status[account] = 0, 0, "open"

    def is_empty(self, account: str) -> bool:
        """Whether an account has no balance, and no payment or authorization touches it."""
        promised = [one for one in self.paid.values() if one.state == "authorized"]
        moving = [*self.pending, *promised]
        touched = {one.source for one in moving} | {account for one in moving for account, _ in one.credits}
        return not self.booked[account] and account not in touched

    # Payments

    def pay(self, external_id: str, content: Content) -> str:
        """What Holdfast must answer, and what follows from it."""
        self.contents.setdefault(external_id, content)
        destinations = [account for account, _, _ in content.destinations]
        record = self.records.get(external_id)
        if content.source in destinations:
            return "accounts_equal"
        if self.barred([content.source], destinations):
            known = record is not None and record[0] == content and split(content) is not None
            return self._again(external_id, content) if known else "account_frozen"
        credits = split(content)
        if credits is None:
            return "splits_do_not_add_up"
        if record is not None:
            return self._again(external_id, content) if record[0] == content else "external_id_reused"
        if not self.has(content.source, content.amount):
            if self.is_final(external_id, content):
                self.records[external_id] = (content, "insufficient_funds")
            return self._in_ledger(external_id, content)
        self.records[external_id] = (content, OK)
        if external_id in self.in_ledger:  # the cache has forgotten it, the ledger has not
            self._promise(external_id, content, credits)
            return OK
        if content.manual:
            self.paid[external_id] = Paid(content.source, credits, "authorized", is_authorization=True)
            return OK
        self._promise(external_id, content, credits)
        self.paid[external_id] = Paid(content.source, credits, "pending", is_authorization=False)
        return OK

    def is_final(self, external_id: str, content: Content) -> bool:
        """Whether a lack of funds is put on record: not if open authorizations that the ledger knows explain it."""
        if self.booked[content.source] + self.limits[content.source] < content.amount:
            return True
        authorized = sum(amount for source, amount in self.open_in_ledger.values() if source == content.source)
        freed = min(authorized, self.held(content.source))
        available = self.available(content.source)
        assert available is not None
        return external_id not in self.in_ledger and available + freed < content.amount

    def _promise(self, external_id: str, content: Content, credits: list[tuple[str, int]]) -> None:
        held = 0 if content.source == "bank" else content.amount
        self.pending.append(Movement(external_id, content.source, held, credits))

    def _again(self, external_id: str, content: Content) -> str:
        if self.records[external_id][1] == OK:
            return AGAIN
        return self._in_ledger(external_id, content)

    def _in_ledger(self, external_id: str, content: Content) -> str:
        """What the ledger answers to an external id that is refused for lack of funds."""
        if external_id not in self.in_ledger:
            return "insufficient_funds"
        return AGAIN if self.in_ledger[external_id] == content else "external_id_reused"

    def batch(self, wanted: list[tuple[str, Content]]) -> list[str]:
        """All or none; the external ids are new."""
        for n, (_, content) in enumerate(wanted):
            trial = deepcopy(self)
            trial.limits = dict.fromkeys(WALLETS, 10**9)
            code = trial.pay("trial", content)
            if code != OK:
                return linked(len(wanted), n, code)
        if len({crc32(content.source.encode()) % PARTITIONS for _, content in wanted}) > 1:
            return ["batch_crosses_partitions"] * len(wanted)
        trial = deepcopy(self)
        for n, (external_id, content) in enumerate(wanted):
            code = trial.pay(external_id, content)
            if code != OK:
                return linked(len(wanted), n, code)
        return [self.pay(external_id, content) for external_id, content in wanted]

    # Authorizations

    def conclude(self, key: str, state: str, amount: int) -> str:
        one = self.paid[key]
        if amount > one.amount:
            return "capture_exceeds_hold"
        if one.state != "authorized":
            ended = "captured" if one.state == "posted" else one.state
            if (ended, one.captured) == (state, amount):
                return AGAIN
            return "hold_expired" if ended == "expired" else f"hold_already_{ended}"
        one.state, one.captured = state, amount
        if amount:
            credits = in_proportion(amount, one.credits)
            held = 0 if one.source == "bank" else amount
            self.pending.append(Movement(key, one.source, held, credits, concludes=True))
        return OK

    # Journals and refunds

    def post(self, debits: dict[str, int]) -> str:
        """What a journal of these debits and credits (negative) answers, and what follows."""
        if self.barred([a for a, d in debits.items() if d > 0], [a for a, d in debits.items() if d < 0]):
            return "account_frozen"
        if sum(debits.values()):
            return "journal_unbalanced"
        if not all(self.has(account, amount) for account, amount in debits.items() if amount > 0):
            return "insufficient_funds"
        self.move(debits)
        return OK

    def refund(self, key: str, amount: int | None) -> str:
        one = self.paid[key]
        if one.state != "posted":
            return "payment_not_posted"
        credits = in_proportion(one.captured, one.credits) if one.is_authorization else one.credits
        left = [(account, part - one.refunded.get(account, 0)) for account, part in credits]
        remaining = sum(part for _, part in left)
        wanted = remaining if amount is None else amount
        if not remaining or wanted > remaining:
            return "refund_exceeds_payment"
        parts = in_proportion(wanted, left)
        answer = self.post({**dict(parts), one.source: -wanted})
        if answer == OK:
            for account, part in parts:
                one.refunded[account] = one.refunded.get(account, 0) + part
        return answer

    # The drain and the cache

    def drain(self) -> None:
        """Post every pending payment, each external id once."""
        for one in self.pending:
            if not one.concludes and one.external_id in self.in_ledger:
                continue
            self.move({**{account: -part for account, part in one.credits}, one.source: sum(p for _, p in one.credits)})
            self.paid[one.external_id].state = "posted"
        self.pending = []
        self.open_in_ledger = {
            key: (one.source, one.amount) for key, one in self.paid.items() if one.state == "authorized"
        }
        for external_id, (content, code) in self.records.items():
            if code == OK:
                self.in_ledger[external_id] = content

    def forget(self) -> None:
        self.records = {}


def linked(count: int, failed: int, code: str) -> list[str]:
    return [code if n == failed else "linked_payment_failed" for n in range(count)]
