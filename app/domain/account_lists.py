"""Lists that people read: accounts with their balances, and the entries of one account."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.accounts import AccountStatus, AccountType, normal_sign
from app.domain.read_models import AccountEntry


@dataclass(slots=True, frozen=True)
class AccountFilter:
    """Which accounts; None is all. `begins_with` is the beginning of their ids."""

    begins_with: str = ""
    entity_id: str | None = None
    type: AccountType | None = None
    currency_code: str | None = None
    status: AccountStatus | None = None


@dataclass(slots=True, frozen=True)
class ListedAccount:
    """An account with its balance in the ledger, in minor units on its normal side."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    name: str | None
    status: AccountStatus
    balance_minor: int
    entry_count: int
    updated_at: datetime

    @property
    def debit_minor(self) -> int | None:
        """The balance if it is a debit; None if not."""
        signed = normal_sign(self.type) * self.balance_minor
        return signed if signed > 0 else None

    @property
    def credit_minor(self) -> int | None:
        """The balance if it is a credit; None if not."""
        signed = normal_sign(self.type) * self.balance_minor
        return -signed if signed < 0 else None


@dataclass(slots=True, frozen=True)
class EntryFilter:
    """Which entries of an account: posted in a span of time, of a kind, of an amount in minor units; None is any."""

    posted_from: datetime | None = None
    posted_before: datetime | None = None
    kind: str | None = None
    amount_minor: int | None = None


@dataclass(slots=True, frozen=True)
class EntryPage:
    """Entries of an account, the newest first. `looked_at`: the first and the last entry number looked at."""

    entries: list[AccountEntry]
    looked_at: tuple[int, int]
    has_older: bool


@dataclass(slots=True, frozen=True)
class OpenAuthorization:
    """An authorization that holds funds of an account; `held_minor` in minor units."""

    payment_id: str
    external_id: str
    destinations: list[str]
    held_minor: int
    accepted_at: datetime
    expires_at: datetime


@dataclass(slots=True, frozen=True)
class BalanceCourse:
    """A balance at some moments, in minor units, and the least and the most that it was from the first to the last.

    The extremes are those of the moments alone where there are too many entries in between; they are not exact then.
    """

    values: Sequence[int]
    lowest_minor: int
    highest_minor: int
    is_exact: bool
