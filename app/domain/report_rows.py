"""The reports as CSV, for the pages and the command line: their heads and their rows.

`exact` turns minor units into a number with the decimals of a currency.
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from app.domain.csv_export import Value
from app.domain.financial_statements import CurrencyStatements
from app.domain.read_models import TrialBalanceLine

Exact = Callable[[int, str], Decimal | None]

TRIAL_HEAD = ("account_id", "entity_id", "type", "currency_code", "debit", "credit")
SHEET_HEAD = ("currency_code", "line", "amount")
SHEET_LINES = ("asset", "liability", "equity", "brought_forward", "result", "difference")
INCOME_HEAD = ("account_id", "entity_id", "type", "currency_code", "opening", "movement", "closing")


def trial_row(line: TrialBalanceLine, exact: Exact) -> tuple[Value, ...]:
    """An account of the trial balance; the side on which it has nothing is empty."""
    code = line.currency_code
    sides = (exact(minor, code) if minor else None for minor in (line.debit_minor, line.credit_minor))
    return (line.account_id, line.entity_id, line.type, code, *sides)


def sheet_rows(statements: Iterable[CurrencyStatements], exact: Exact) -> Iterator[tuple[Value, ...]]:
    """The balance sheet of each currency, line by line."""
    for one in statements:
        for line in SHEET_LINES:
            yield (one.currency_code, line, exact(getattr(one, f"{line}_minor"), one.currency_code))


def income_rows(statements: Iterable[CurrencyStatements], exact: Exact) -> Iterator[tuple[Value, ...]]:
    """The income statement of each currency, account by account."""
    for statement in statements:
        code = statement.currency_code
        for one in statement.accounts:
            amounts = (one.opening_minor, one.movement_minor, one.closing_minor)
            yield (one.account_id, one.entity_id, one.type, code, *(exact(each, code) for each in amounts))
