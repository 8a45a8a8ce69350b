"""Trial balances, quick also over many accounts: known totals are brought up to date, past ones are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from app.domain.read_models import AsOf, LedgerMoment, TimeBasis
from app.domain.trial_balance import CurrencyBalance, by_currency

if TYPE_CHECKING:
    from app.ledger.trial_balance import KnownTotals, LedgerTrialBalance

SETTLED_AFTER = timedelta(minutes=5)
"""Whatever was posted with an earlier time has committed by now."""

KEPT = 50
"""Reports of past moments that a process keeps: the month-ends that people look at again and again."""


class TrialBalances:
    """Reads trial balances from the ledger, and remembers what makes the next one quick."""

    def __init__(self, ledger: LedgerTrialBalance, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now_is = now
        self._lock = Lock()
        self._known: KnownTotals | None = None
        self._kept: OrderedDict[Hashable, tuple[LedgerMoment, list[CurrencyBalance]]] = OrderedDict()

    def read(
        self,
        *,
        entity_id: str | None,
        currency_code: str | None,
        as_of: AsOf | None,
        begins_with: str = "",
        most: int,
    ) -> list[CurrencyBalance]:
        """The trial balance with up to `most` accounts of each type, of all accounts or of those that begin so."""
        if as_of is None and not begins_with:
            return self._now(entity_id, currency_code, most)
        key = (entity_id, currency_code, as_of, begins_with, most)
        kept = self._kept.get(key)
        if kept is not None and self._still_holds(as_of, kept[0]):
            return kept[1]
        moment, totals, accounts = self._ledger.at(
            entity_id=entity_id, currency_code=currency_code, as_of=as_of, begins_with=begins_with, most=most
        )
        balances = by_currency(totals, accounts)
        with self._lock:
            self._kept[key] = (moment, balances)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return balances

    def _still_holds(self, as_of: AsOf | None, then: LedgerMoment) -> bool:
        """Whether a report still says what the ledger does. By posted time, nothing comes into the past any more."""
        moment = self._ledger.moment()
        if moment == then:
            return True
        is_past = as_of is not None and as_of.by is TimeBasis.POSTED and as_of.at < self._now_is() - SETTLED_AFTER
        return is_past and moment.last_account == then.last_account

    def _now(self, entity_id: str | None, currency_code: str | None, most: int) -> list[CurrencyBalance]:
        known, totals, accounts = self._ledger.now(
            self._known, entity_id=entity_id, currency_code=currency_code, most=most
        )
        self._known = known
        return by_currency(totals, accounts)
