"""Accounts: their types and statuses, their normal side, and which account of a payment guards it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

DEFAULT_ENTITY = "default"
"""The legal entity of an account for which the caller names none."""

MAX_ID_LENGTH = 128
"""Longest identifier, in characters: ids are keys in the cache and in every index of the ledger."""

ID_PATTERN = r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\xa0]*[^\x00-\x20\x7f-\xa0])?$"
"""What every id matches: no control character, no white space at its ends. `refuse_id` refuses more, which no portable
pattern can tell: all that is not printable, and what is not in Normalization Form C."""

RESERVED_ENDINGS = ("/balance", "/changes", "/entries")
"""What can follow an account's id in a path: an id with such an ending would be read as a shorter id."""


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
    """+1 if a debit raises the balance (asset, expense), −1 if a credit does.

    Entries are stored debit-positive; `normal_sign × Σ entries` is the balance that people read.
    """
    return 1 if account_type in _DEBIT_NORMAL else -1


def default_overdraft_limit(account_type: AccountType) -> int | None:
    """Wallets (liabilities) may not fall below zero by default; other types have no floor by default."""
    return 0 if account_type is AccountType.LIABILITY else None


def floor_of(overdraft_limit_minor: int | None) -> int | None:
    """The lowest balance allowed, in minor units; None is no floor. An overdraft limit is a negative floor."""
    return None if overdraft_limit_minor is None else -overdraft_limit_minor


@dataclass(slots=True, frozen=True)
class AccountFacts:
    """What a payment needs to know about an account apart from its balance; it rarely changes."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    status: AccountStatus
    has_floor: bool
    is_paused: bool = False
    """Whether it takes no payment for the moment in which it is changed."""

    @property
    def falls_by_debit(self) -> bool:
        """Whether a debit lowers the balance."""
        return self.type not in _DEBIT_NORMAL

    @property
    def guards_debits(self) -> bool:
        """Whether a debit lowers the balance towards a floor."""
        return self.has_floor and self.falls_by_debit

    @property
    def guards_credits(self) -> bool:
        """Whether a credit lowers the balance towards a floor."""
        return self.has_floor and not self.falls_by_debit

    @property
    def bars_debits(self) -> bool:
        """Whether a debit is refused."""
        return self.is_paused or self.status.bars_debits

    @property
    def bars_credits(self) -> bool:
        """Whether a credit is refused."""
        return self.is_paused or self.status.bars_credits

    def as_open(self) -> "AccountFacts":
        """The same account with the status open."""
        return replace(self, status=AccountStatus.OPEN, is_paused=False)


def guarded_account(source: AccountFacts, destinations: Sequence[AccountFacts]) -> tuple[AccountFacts, bool] | None:
    """The account whose partition decides the payment, and whether its balance falls.

    The guarded account is the one whose balance falls and has a floor; if none has, the source. None if there are
    several: no single script call can check accounts of different partitions.
    """
    guarded = [source] if source.guards_debits else []
    guarded += [account for account in destinations if account.guards_credits]
    if len(guarded) > 1:
        return None
    return (guarded[0], True) if guarded else (source, source.falls_by_debit)
