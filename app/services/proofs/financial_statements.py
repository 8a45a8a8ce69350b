"""Balance sheet and income statement, quick also over many accounts: known totals are brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.financial_statements import CurrencyStatements, Period, statements_of
from app.services.proofs.past_reports import PastReports
from app.services.proofs.trial_balance import RememberedTotals

if TYPE_CHECKING:
    from app.ledger.financial_statements import LedgerFinancialStatements

Key = tuple[Period, str | None, str | None, frozenset[str] | None]


class FinancialStatements:
    """Reads both statements from the ledger, and remembers what makes the next ones quick."""

    def __init__(
        self,
        ledger: LedgerFinancialStatements,
        now: Callable[[], datetime],
        remembered: RememberedTotals | None = None,
    ) -> None:
        """Reports that are given the same `remembered` share the totals of now."""
        self._ledger = ledger
        self._now = now
        self._remembered = remembered or RememberedTotals()
        self._kept: PastReports[list[CurrencyStatements]] = PastReports(ledger.moment, now)

    def read(
        self,
        period: Period,
        *,
        entity_id: str | None = None,
        currency_code: str | None = None,
        entities: Collection[str] | None = None,
    ) -> list[CurrencyStatements]:
        """Both statements in each currency; with `entities` of their accounts alone."""
        key: Key = (period, entity_id, currency_code, None if entities is None else frozenset(entities))
        kept = self._kept.find(key)
        if kept is not None:
            return kept
        is_settled = self._kept.is_settled(period.end)
        base = self._remembered.base(self._now())
        known, totals, accounts = self._ledger.read(
            period, base, entity_id=entity_id, currency_code=currency_code, entities=entities
        )
        self._remembered.keep(known, base, self._now())
        found = statements_of(totals, accounts, is_of_now=period.end is None)
        if period.end is not None:
            self._kept.keep(key, found, None if is_settled else known.moment)
        return found
