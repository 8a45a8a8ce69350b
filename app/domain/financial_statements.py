"""Balance sheet and income statement by account type over a period, and their proof against the trial balance.

The balance sheet's assets, liabilities and equity are the trial balance's totals. What revenue and expense accounts
have come to is read from their entries, account by account. So two sums that come from different places must agree: the
balance sheet balances only if they do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.accounts import AccountType
from app.domain.read_models import AsOf, TimeBasis
from app.domain.trial_balance import TypeTotal

RESULT_TYPES = (AccountType.REVENUE, AccountType.EXPENSE)
"""The accounts whose movements are the result."""


@dataclass(slots=True, frozen=True)
class Period:
    """From a moment, which counts, up to a moment in milliseconds, which counts too.

    Without `begins_at` it reaches back to the first entry, without `ends_at` until now.
    """

    begins_at: datetime | None
    ends_at: datetime | None
    by: TimeBasis

    @property
    def end(self) -> AsOf | None:
        """Its end as reports take an instant; None is now."""
        return None if self.ends_at is None else AsOf(self.ends_at, self.by)

    @property
    def is_backwards(self) -> bool:
        """Whether it ends before it begins."""
        return self.begins_at is not None and self.ends_at is not None and self.ends_at < self.begins_at


@dataclass(slots=True, frozen=True)
class ResultAccount:
    """A revenue or expense account: its balance before the period and at its end, on its own side, in minor units."""

    account_id: str
    entity_id: str
    type: str
    currency_code: str
    opening_minor: int
    closing_minor: int
    balance_minor: int
    """Its balance now, which may have grown since the end of the period."""

    @property
    def movement_minor(self) -> int:
        """What it has come to in the period."""
        return self.closing_minor - self.opening_minor


@dataclass(slots=True, frozen=True)
class CurrencyStatements:
    """Both statements in one currency; minor units, each type on its own side."""

    currency_code: str
    asset_minor: int
    liability_minor: int
    equity_minor: int
    accounts: Sequence[ResultAccount]
    """The revenue and expense accounts that have an entry, by type and id."""
    trial_revenue_minor: int
    """What the trial balance says of revenue accounts at the end of the period."""
    trial_expense_minor: int
    trial_difference_minor: int
    """What the debits of the trial balance exceed its credits by."""

    def of_type(self, account_type: str) -> list[ResultAccount]:
        """The accounts of one type."""
        return [one for one in self.accounts if one.type == account_type]

    @property
    def revenue_minor(self) -> int:
        """Revenue of the period."""
        return sum(one.movement_minor for one in self.of_type(AccountType.REVENUE))

    @property
    def expense_minor(self) -> int:
        """Expenses of the period."""
        return sum(one.movement_minor for one in self.of_type(AccountType.EXPENSE))

    @property
    def result_minor(self) -> int:
        """Revenue less expenses of the period."""
        return self.revenue_minor - self.expense_minor

    @property
    def brought_forward_minor(self) -> int:
        """The result of all time before the period, as far as no journal has closed it into equity."""
        signs = {AccountType.REVENUE.value: 1, AccountType.EXPENSE.value: -1}
        return sum(signs[one.type] * one.opening_minor for one in self.accounts)

    @property
    def claims_minor(self) -> int:
        """Liabilities, equity and results: what assets must equal."""
        return self.liability_minor + self.equity_minor + self.brought_forward_minor + self.result_minor

    @property
    def difference_minor(self) -> int:
        """What assets exceed the claims by: 0 in a balanced ledger."""
        return self.asset_minor - self.claims_minor

    @property
    def revenue_difference_minor(self) -> int:
        """What the revenue accounts' entries come to beyond what the trial balance says of them."""
        return sum(one.closing_minor for one in self.of_type(AccountType.REVENUE)) - self.trial_revenue_minor

    @property
    def expense_difference_minor(self) -> int:
        """The same for expense accounts."""
        return sum(one.closing_minor for one in self.of_type(AccountType.EXPENSE)) - self.trial_expense_minor

    @property
    def is_proved(self) -> bool:
        """Whether both statements say what the trial balance says, and balance."""
        return not (
            self.difference_minor
            or self.revenue_difference_minor
            or self.expense_difference_minor
            or self.trial_difference_minor
        )


def statements_of(
    totals: Iterable[TypeTotal], accounts: Iterable[ResultAccount], *, is_of_now: bool
) -> list[CurrencyStatements]:
    """Put the totals of the trial balance and the accounts of the result together, by currency.

    `is_of_now`: the period has no end, so what the trial balance says of these accounts are their balances.
    """
    signed: dict[str, dict[str, int]] = {}
    for total in totals:
        signed.setdefault(total.currency_code, {})[total.type] = total.signed_minor
    listed: dict[str, list[ResultAccount]] = {}
    for one in accounts:
        signed.setdefault(one.currency_code, {})
        listed.setdefault(one.currency_code, []).append(one)
    found = []
    for code, by_type in sorted(signed.items()):
        debit = {one.value: by_type.get(one.value, 0) for one in AccountType}
        mine = sorted(listed.get(code, []), key=lambda one: (one.type != AccountType.REVENUE, one.account_id))
        if is_of_now:
            debit[AccountType.REVENUE] = -sum(one.balance_minor for one in mine if one.type == AccountType.REVENUE)
            debit[AccountType.EXPENSE] = sum(one.balance_minor for one in mine if one.type == AccountType.EXPENSE)
        found.append(
            CurrencyStatements(
                code,
                debit[AccountType.ASSET],
                -debit[AccountType.LIABILITY],
                -debit[AccountType.EQUITY],
                mine,
                -debit[AccountType.REVENUE],
                debit[AccountType.EXPENSE],
                sum(debit.values()),
            )
        )
    return found
