"""Wiring of the reports for the command line."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.history import History
from app.ledger.trial_balance import LedgerTrialBalance
from app.services.accounts.assets import Assets
from app.services.proofs.financial_statements import FinancialStatements
from app.services.proofs.trial_balance import TrialBalances
from app.settings import Settings
from app.wiring.services import build_assets, build_engine

NO_LIMIT_S = 0.0
"""A report of long ago adds up many entries and may take minutes; no browser waits for a command."""


@dataclass(slots=True, frozen=True)
class Reports:
    """What reports are made from."""

    trial_balances: TrialBalances
    financial_statements: FinancialStatements
    history: History
    assets: Assets


def build_reports(settings: Settings) -> Reports:
    """The reports, over a pool of connections that may take their time."""
    engine = build_engine(settings, "reports", NO_LIMIT_S)
    now = partial(datetime.now, UTC)
    return Reports(
        TrialBalances(LedgerTrialBalance(engine), now),
        FinancialStatements(LedgerFinancialStatements(engine), now),
        History(engine),
        build_assets(engine),
    )
