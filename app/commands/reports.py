"""`reports`: trial balance, balance sheet and income statement, for people, for spreadsheets and for cron.

They call the services of the pages and of the API. The exit code is 1 when a report is not proved: debits and credits
differ, or a statement says something else than the trial balance.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from app.commands.connection import connected
from app.domain.csv_export import Value, csv_lines
from app.domain.financial_statements import CurrencyStatements, Period
from app.domain.read_models import AsOf, TimeBasis
from app.domain.report_rows import (
    INCOME_HEAD,
    SHEET_HEAD,
    SHEET_LINES,
    TRIAL_HEAD,
    income_rows,
    sheet_rows,
    trial_row,
)
from app.domain.timestamps import rfc3339
from app.domain.trial_balance import CurrencyBalance
from app.services.proofs.trial_balance import every_line
from app.settings import Settings
from app.wiring.reports import Reports, build_reports

MOST_LISTED = 20
"""Accounts of each type that are printed for people; CSV has all."""


def run(arguments: argparse.Namespace) -> int:
    """Print one report; exit code 1 when it is not proved."""
    reporters = {"trial-balance": _trial_balance, "balance-sheet": _balance_sheet, "income-statement": _income}
    with connected(arguments.data_dir) as settings:
        return reporters[arguments.action](arguments, _Printer(settings))


class _Printer:
    """The reports, and amounts in the decimals of their currencies."""

    def __init__(self, settings: Settings) -> None:
        self.reports: Reports = build_reports(settings)
        self._places: dict[str, int] = {}

    def exact(self, minor: int, currency_code: str) -> Decimal:
        """A number with the currency's decimals."""
        return Decimal(minor).scaleb(-self.places(currency_code))

    def money(self, minor: int, currency_code: str) -> str:
        """The same for people."""
        return f"{self.exact(minor, currency_code):,.{self.places(currency_code)}f}"

    def places(self, currency_code: str) -> int:
        """How many decimals amounts in this currency have."""
        if currency_code not in self._places:
            asset = self.reports.assets.get(currency_code)
            self._places[currency_code] = 2 if asset is None else asset.minor_units
        return self._places[currency_code]


def _print_csv(head: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    for piece in csv_lines(head, rows):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _head(title: str, arguments: argparse.Namespace) -> None:
    begins_at: datetime | None = getattr(arguments, "begins_at", None)
    ends_at: datetime = arguments.ends_at or datetime.now(UTC)
    begins = f"from {rfc3339(begins_at)} to " if begins_at else "as of "
    print(f"{title}, {begins}{rfc3339(ends_at)}, by {arguments.by} time, entity {arguments.entity or 'all'}")


# Trial balance


def _trial_balance(arguments: argparse.Namespace, printer: _Printer) -> int:
    as_of = None if arguments.ends_at is None else AsOf(arguments.ends_at, TimeBasis(arguments.by))
    balances = printer.reports.trial_balances.read(
        entity_id=arguments.entity, currency_code=arguments.currency, as_of=as_of, most=MOST_LISTED
    )
    if arguments.csv:
        lines = every_line(
            printer.reports.history, entity_id=arguments.entity, currency_code=arguments.currency, as_of=as_of
        )
        _print_csv(TRIAL_HEAD, (trial_row(line, printer.exact) for line in lines))
    else:
        _head("Trial balance", arguments)
        for one in balances:
            _tell_trial(one, printer)
    return int(any(one.difference_minor for one in balances))


def _tell_trial(one: CurrencyBalance, printer: _Printer) -> None:
    code = one.currency_code
    print(f"\n{code:<42}{'debit':>24}{'credit':>24}")
    for group in one.groups:
        total = group.total
        _print_row(f"{total.type}, {total.account_count:,}", [total.debit_minor, total.credit_minor], code, printer)
        for account in group.accounts:
            _print_row(f"  {account.account_id}", [account.debit_minor, account.credit_minor], code, printer)
        further, debit, credit = group.further
        if further:
            _print_row(f"  {further:,} further", [debit, credit], code, printer)
    _print_row(f"total {code}", [one.debit_minor, one.credit_minor], code, printer)
    difference = printer.money(one.difference_minor, code)
    print("balanced" if not one.difference_minor else f"NOT BALANCED: debits exceed credits by {difference}")


# Balance sheet and income statement


def _read(arguments: argparse.Namespace, printer: _Printer) -> list[CurrencyStatements]:
    period = Period(arguments.begins_at, arguments.ends_at, TimeBasis(arguments.by))
    return printer.reports.financial_statements.read(
        period, entity_id=arguments.entity, currency_code=arguments.currency
    )


def _balance_sheet(arguments: argparse.Namespace, printer: _Printer) -> int:
    found = _read(arguments, printer)
    if arguments.csv:
        _print_csv(SHEET_HEAD, sheet_rows(found, printer.exact))
        return _exit_code(found)
    _head("Balance sheet", arguments)
    for one in found:
        code = one.currency_code
        print(f"\n{code}")
        _print_row("assets", [one.asset_minor], code, printer)
        for line in SHEET_LINES[1:-1]:
            _print_row(line.replace("_", " "), [getattr(one, f"{line}_minor")], code, printer)
        _print_row("liabilities, equity and results", [one.claims_minor], code, printer)
        _tell_proof(one, printer)
    return _exit_code(found)


def _income(arguments: argparse.Namespace, printer: _Printer) -> int:
    found = _read(arguments, printer)
    if arguments.csv:
        _print_csv(INCOME_HEAD, income_rows(found, printer.exact))
        return _exit_code(found)
    _head("Income statement", arguments)
    for one in found:
        _tell_income(one, printer)
    return _exit_code(found)


def _tell_income(one: CurrencyStatements, printer: _Printer) -> None:
    code = one.currency_code
    if not one.accounts:
        return
    print(f"\n{code:<42}{'before':>24}{'in the period':>24}{'at its end':>24}")
    for account in one.accounts[: 2 * MOST_LISTED]:
        amounts = [account.opening_minor, account.movement_minor, account.closing_minor]
        _print_row(f"{account.type:<8} {account.account_id}", amounts, code, printer)
    if len(one.accounts) > 2 * MOST_LISTED:
        print(f"and {len(one.accounts) - 2 * MOST_LISTED:,} further accounts: --csv prints them")
    _print_row("revenue", [None, one.revenue_minor], code, printer)
    _print_row("expenses", [None, one.expense_minor], code, printer)
    both = one.brought_forward_minor + one.result_minor
    _print_row("result", [one.brought_forward_minor, one.result_minor, both], code, printer)
    _tell_proof(one, printer)


def _print_row(name: str, amounts: Sequence[int | None], code: str, printer: _Printer) -> None:
    columns = "".join(f"{'' if minor is None else printer.money(minor, code):>24}" for minor in amounts)
    print(f"{name:<42}{columns}".rstrip())


def _tell_proof(one: CurrencyStatements, printer: _Printer) -> None:
    if one.is_proved:
        print("proved against the trial balance of the same moment")
        return
    code = one.currency_code
    print(
        f"NOT PROVED: assets exceed claims by {printer.money(one.difference_minor, code)}; entries exceed balances by "
        f"{printer.money(one.revenue_difference_minor, code)} in revenue and "
        f"{printer.money(one.expense_difference_minor, code)} in expenses; debits exceed credits by "
        f"{printer.money(one.trial_difference_minor, code)}"
    )


def _exit_code(found: Iterable[CurrencyStatements]) -> int:
    return int(not all(one.is_proved for one in found))
