"""Trial balances, quick also over many accounts: known totals are brought up to date, past ones are kept.

Totals over a million accounts take a second; bringing them up to date takes milliseconds, if they are not too old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from app.domain.read_models import AsOf, ReportCursor, TrialBalanceLine
from app.domain.trial_balance import CurrencyBalance, by_currency
from app.services.proofs.past_reports import PastReports

if TYPE_CHECKING:
    from app.ledger.history import History
    from app.ledger.trial_balance import KnownTotals, LedgerTrialBalance

PIECE = 10_000
"""Accounts that one query of a walk through all of them reads: each query sums by account what the walk takes off."""

LASTS = timedelta(minutes=10)
"""How long totals are brought up to date before all balances are read again."""

RENEWED_AFTER = timedelta(minutes=5)
"""The thread that keeps totals fresh reads all balances again so long before anybody would have to wait for it."""


@dataclass(slots=True)
class RememberedTotals:
    """The totals of a moment ago, for all reports of a process."""

    known: KnownTotals | None = None
    read_at: datetime | None = None
    """When all balances were read; since then only those with new entries were."""

    def base(self, now: datetime, lasts: timedelta = LASTS) -> KnownTotals | None:
        """What may be brought up to date; None if all balances must be read: somebody may have written into one."""
        return None if self.read_at is None or now - self.read_at > lasts else self.known

    def keep(self, known: KnownTotals | None, base: KnownTotals | None, now: datetime) -> None:
        """Remember totals, which were made from a base or from all balances."""
        self.known = known
        if base is None:
            self.read_at = now


class TrialBalances:
    """Reads trial balances from the ledger, and remembers what makes the next one quick."""

    def __init__(
        self, ledger: LedgerTrialBalance, now: Callable[[], datetime], remembered: RememberedTotals | None = None
    ) -> None:
        """Reports that are given the same `remembered` share the totals of now."""
        self._ledger = ledger
        self._now = now
        self._remembered = remembered or RememberedTotals()
        self._making = Lock()
        self._kept: PastReports[list[CurrencyBalance]] = PastReports(ledger.moment, now)

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
        key = (entity_id, currency_code, as_of, begins_with, most)
        kept = self._kept.find(key)
        if kept is not None:
            return kept
        is_settled = self._kept.is_settled(as_of)
        base = self._remembered.base(self._now())
        # While the first totals are made, others wait for them.
        with self._making if base is None else nullcontext():
            base = self._remembered.base(self._now())
            known, totals, accounts = self._ledger.read(
                base, entity_id=entity_id, currency_code=currency_code, as_of=as_of, begins_with=begins_with, most=most
            )
            self._remembered.keep(known, base, self._now())
        balances = by_currency(totals, accounts)
        if as_of is not None or begins_with:
            self._kept.keep(key, balances, None if is_settled else known.moment)
        return balances

    def freshen(self) -> None:
        """Bring the totals of now up to date, or read all balances again before anybody would wait for that."""
        base = self._remembered.base(self._now(), RENEWED_AFTER)
        known, _, _ = self._ledger.read(base, entity_id=None, currency_code=None, most=0)
        self._remembered.keep(known, base, self._now())


def every_line(
    history: History, *, entity_id: str | None, currency_code: str | None, as_of: AsOf | None
) -> Iterator[TrialBalanceLine]:
    """Every account of the trial balance, all from one moment of the ledger."""
    cursor = None
    while True:
        _, lines, moment = history.trial_balance(
            entity_id=entity_id, currency_code=currency_code, limit=PIECE, as_of=as_of, cursor=cursor
        )
        yield from lines
        if len(lines) < PIECE:
            return
        cursor = ReportCursor(lines[-1].account_id, moment)
