"""The trial balance as people read it: by currency, then by type, then by account; and what follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.accounts import AccountType


@dataclass(slots=True, frozen=True)
class TypeTotal:
    """The accounts of one type in one currency; minor units."""

    currency_code: str
    type: str
    account_count: int
    debit_minor: int
    credit_minor: int

    @property
    def signed_minor(self) -> int:
        """Debits less credits."""
        return self.debit_minor - self.credit_minor


@dataclass(slots=True, frozen=True)
class TrialBalanceAccount:
    """An account with a balance; minor units, debit positive."""

    account_id: str
    entity_id: str
    type: str
    currency_code: str
    entry_count: int
    signed_minor: int

    @property
    def debit_minor(self) -> int | None:
        """The balance if it is a debit."""
        return self.signed_minor if self.signed_minor > 0 else None

    @property
    def credit_minor(self) -> int | None:
        """The balance if it is a credit."""
        return -self.signed_minor if self.signed_minor < 0 else None


@dataclass(slots=True, frozen=True)
class TypeGroup:
    """A type's total with its first accounts; `further` accounts and what they come to are not listed."""

    total: TypeTotal
    accounts: list[TrialBalanceAccount]

    @property
    def further(self) -> tuple[int, int, int]:
        """How many accounts are not listed, and their debits and credits."""
        return (
            self.total.account_count - len(self.accounts),
            self.total.debit_minor - sum(one.debit_minor or 0 for one in self.accounts),
            self.total.credit_minor - sum(one.credit_minor or 0 for one in self.accounts),
        )


@dataclass(slots=True, frozen=True)
class CurrencyBalance:
    """The trial balance in one currency. Debits must equal credits."""

    currency_code: str
    groups: list[TypeGroup]

    @property
    def account_count(self) -> int:
        """How many accounts there are."""
        return sum(group.total.account_count for group in self.groups)

    @property
    def debit_minor(self) -> int:
        """All debits."""
        return sum(group.total.debit_minor for group in self.groups)

    @property
    def credit_minor(self) -> int:
        """All credits."""
        return sum(group.total.credit_minor for group in self.groups)

    @property
    def difference_minor(self) -> int:
        """What debits exceed credits by: 0 in a balanced ledger."""
        return self.debit_minor - self.credit_minor


def by_currency(totals: Iterable[TypeTotal], accounts: Sequence[TrialBalanceAccount]) -> list[CurrencyBalance]:
    """Put totals and accounts together, types in the order of the chart of accounts."""
    order = [one.value for one in AccountType]
    found: dict[str, list[TypeGroup]] = {}
    for total in sorted(totals, key=lambda one: (one.currency_code, order.index(one.type))):
        mine = [one for one in accounts if (one.currency_code, one.type) == (total.currency_code, total.type)]
        found.setdefault(total.currency_code, []).append(TypeGroup(total, mine))
    return [CurrencyBalance(currency_code, groups) for currency_code, groups in found.items()]
