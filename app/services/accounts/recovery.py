"""Recovery of account changes: finishing what a killed process left half done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.domain.errors import Fault

if TYPE_CHECKING:
    from app.ledger.account_changes import LedgerAccountChanges
    from app.services.accounts.changes import AccountChanges


log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Far longer than a change takes, so none is undone while in progress. If one were, it would be refused."""


class ChangeRecovery:
    """The sweep over unfinished changes."""

    def __init__(self, ledger: LedgerAccountChanges, changes: AccountChanges, patience_s: float = PATIENCE_S) -> None:
        self._ledger = ledger
        self._changes = changes
        self._patience_s = patience_s

    def run_once(self) -> int:
        """Finish changes that are unfinished for too long; returns how many. The next sweep retries those that fail."""
        recovered = 0
        for left in self._ledger.unfinished(self._patience_s):
            try:
                self._changes.recover(left)
            except Fault as fault:
                log.warning("a broken-off change of account %s is not recovered yet: %s", left.account_id, fault)
                continue
            log.warning("account %s: a change by %s was broken off and is recovered", left.account_id, left.actor)
            recovered += 1
        return recovered
