"""Following monitored accounts: it reads what events tell of them, and records each crossing once.

It follows after the posting, which knows nothing of monitors and waits for none. Only accounts with monitors are read,
by their own entries.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from itertools import groupby
from typing import TYPE_CHECKING

from app.domain.monitors import judge

if TYPE_CHECKING:
    from app.domain.monitors import Monitor, NewMonitor
    from app.ledger.account_events import AccountEvents
    from app.ledger.monitors import LedgerMonitors


class Monitors:
    """The monitors, for those who administer them. `entities` are those that the caller may act for."""

    def __init__(self, ledger: LedgerMonitors) -> None:
        self.ledger = ledger

    def create(self, new: NewMonitor, actor: str) -> Monitor | None:
        """Make a monitor; None if there is no such account."""
        return self.ledger.add(f"mon_{secrets.token_hex(8)}", new, actor)

    def end(self, monitor_id: str, actor: str, entities: Collection[str] | None) -> Monitor | None:
        """End a monitor; None if there is none."""
        if self.ledger.get(monitor_id, entities) is None:
            return None
        return self.ledger.end(monitor_id, actor)


class MonitorFollower:
    """Judges monitors whose accounts have changed."""

    def __init__(self, ledger: LedgerMonitors, events: AccountEvents) -> None:
        self._ledger = ledger
        self._events = events

    def run_once(self) -> int:
        """Follow what has happened since the last time; returns how many crossings there were."""
        if not self._ledger.are_any():
            return 0
        self._events.sequence()
        crossings = 0
        for account_id, group in groupby(self._ledger.with_news(), key=lambda one: one.condition.account_id):
            monitors = list(group)
            entry_number = min(one.entry_number for one in monitors)
            position = min(one.position for one in monitors)
            news = self._events.balances(account_id, entry_number, position)
            if news:
                crossings += self._ledger.record([judge(one, news) for one in monitors])
        return crossings
