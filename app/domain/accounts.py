"""Accounts: their types, their normal side, and which account of a payment guards it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

DEFAULT_ENTITY = "default"
"""The legal entity that owns the books where a caller names none."""

MAX_ID_LENGTH = 128
"""Longest identifier, in characters: ids are keys in the cache and in every index of the books."""


RESERVED_ENDINGS = ("/balance", "/changes", "/entries")
"""What follows an account's id in a path: an id that ends so would be taken for a question about another account."""


class AccountType(StrEnum):
    """The five classes of double-entry bookkeeping."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    REVENUE = "revenue"
    EXPENSE = "expense"


class AccountStatus(StrEnum):
    """Whether money may move on an account."""

    OPEN = "open"
    FROZEN_DEBITS = "frozen_debits"
    FROZEN_CREDITS = "frozen_credits"
    FROZEN = "frozen"
    CLOSED = "closed"

    @property
    def bars_debits(self) -> bool:
        """Whether a debit is refused."""
        return self in (AccountStatus.FROZEN_DEBITS, AccountStatus.FROZEN, AccountStatus.CLOSED)

    @property
    def bars_credits(self) -> bool:
        """Whether a credit is refused."""
        return self in (AccountStatus.FROZEN_CREDITS, AccountStatus.FROZEN, AccountStatus.CLOSED)


_DEBIT_NORMAL = frozenset({AccountType.ASSET, AccountType.EXPENSE})


def normal_sign(account_type: AccountType) -> int:
    """+1 where a debit raises the balance (asset, expense), −1 where a credit does.

    Entries are stored debit-positive; `normal_sign × Σ entries` is the balance people read.
    """
    return 1 if account_type in _DEBIT_NORMAL else -1


def default_overdraft_limit(account_type: AccountType) -> int | None:
    """Wallets (liabilities) may not fall below zero unless told; other types have no floor unless given one."""
    return 0 if account_type is AccountType.LIABILITY else None


def floor_of(overdraft_limit_minor: int | None) -> int | None:
    """The lowest balance allowed, in minor units; None is no floor. An overdraft limit is a negative floor."""
    return None if overdraft_limit_minor is None else -overdraft_limit_minor


@dataclass(slots=True, frozen=True)
class AccountFacts:
    """What a payment must know of an account beside its balance; changes rarely.

    What follows from it is worked out once, and not for every payment.
    """

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    status: AccountStatus
    has_floor: bool
    falls_by_debit: bool = field(init=False)
    """Whether a debit lowers the balance."""
    guards_debits: bool = field(init=False)
    """Whether a debit lowers the balance towards a floor."""
    guards_credits: bool = field(init=False)
    """Whether a credit lowers the balance towards a floor."""
    bars_debits: bool = field(init=False)
    bars_credits: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out what follows."""
        falls_by_debit = self.type not in _DEBIT_NORMAL
        for name, value in (
            ("falls_by_debit", falls_by_debit),
            ("guards_debits", self.has_floor and falls_by_debit),
            ("guards_credits", self.has_floor and not falls_by_debit),
            ("bars_debits", self.status.bars_debits),
            ("bars_credits", self.status.bars_credits),
        ):
            object.__setattr__(self, name, value)  # the class is frozen

    def as_open(self) -> "AccountFacts":
        """The same account if nothing barred it."""
        return replace(self, status=AccountStatus.OPEN)


def guarded_account(source: AccountFacts, destinations: Sequence[AccountFacts]) -> tuple[AccountFacts, bool] | None:
    """The account whose partition decides the payment, and whether its balance falls.

    It is the one whose balance falls and has a floor; where none has, the source. None where several would have to be
    guarded at once: no single script can decide that.
    """
    guarded = [source] if source.guards_debits else []
    guarded += [account for account in destinations if account.guards_credits]
    if len(guarded) > 1:
        return None
    return (guarded[0], True) if guarded else (source, source.falls_by_debit)
