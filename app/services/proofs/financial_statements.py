"""Balance sheet and income statement, quick also over many accounts: known totals are brought up to date."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

from app.domain.financial_statements import CurrencyStatements, Period, statements_of
from app.domain.read_models import LedgerMoment, TimeBasis
from app.services.proofs.trial_balance import SETTLED_AFTER, RememberedTotals

if TYPE_CHECKING:
    from app.ledger.financial_statements import LedgerFinancialStatements

KEPT = 50
"""Statements of past periods that a process keeps: the months that people look at again and again."""

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
        self._lock = Lock()
        self._remembered = remembered or RememberedTotals()
        self._kept: OrderedDict[Key, tuple[LedgerMoment, list[CurrencyStatements]]] = OrderedDict()

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
        kept = self._kept.get(key)
        if kept is not None and self._still_holds(period, kept[0]):
            return kept[1]
        base = self._remembered.base(self._now())
        known, totals, accounts = self._ledger.read(
            period, base, entity_id=entity_id, currency_code=currency_code, entities=entities
        )
        self._remembered.keep(known, base, self._now())
        found = statements_of(totals, accounts, is_of_now=period.end is None)
        if period.end is not None:
            with self._lock:
                self._kept[key] = (known.moment, found)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found

    def _still_holds(self, period: Period, then: LedgerMoment) -> bool:
        """Whether what was read still is so. By posted time, nothing comes into the past any more."""
        moment = self._ledger.moment()
        if moment == then:
            return True
        is_past = period.ends_at is not None and period.ends_at < self._now() - SETTLED_AFTER
        return is_past and period.by is TimeBasis.POSTED and moment.last_account == then.last_account
