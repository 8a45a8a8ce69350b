"""Recovery of account changes: pushing what their makers could not push, finishing what a killed process left
half done.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.domain.errors import Fault

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.account_changes import LedgerAccountChanges
    from app.services.accounts.changes import AccountChanges


LATEST_CHANGES = 1_000
"""Far more accounts than change while a push can be overdue; the sweep looks at no more."""


class DirectoryPush:
    """Tells every partition the directory version, so that no process decides on older facts."""

    def __init__(self, cache: Cache, ledger: LedgerAccountChanges) -> None:
        self._cache = cache
        self._ledger = ledger
        self._pushed: int | None = None

    def push(self) -> None:
        """Push the books' directory version to all partitions, now."""
        version = self._ledger.directory_version()
        self._cache.accounts.open_all(version, self._ledger.last_positions())

    def run_once(self) -> bool:
        """Push if the version has grown since the last time here, and the floors with it; returns whether it had.

        Whoever makes a change pushes it at once. This is for those who could not: it finds nothing to do otherwise.
        """
        version = self._ledger.directory_version()
        if version == self._pushed:
            return False
        self._cache.accounts.open_all(version, self._ledger.last_positions())
        as_of, floors = self._ledger.floors_changed_last(LATEST_CHANGES)
        for account_id, floor_minor in floors.items():
            self._cache.accounts.limit(account_id, floor_minor, as_of, "assign")
        self._pushed = version
        return True


log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Far longer than any change takes, so that nobody's work is undone under their hands; if it were, they are told."""


class ChangeRecovery:
    """The sweep over unfinished changes."""

    def __init__(self, ledger: LedgerAccountChanges, mender: AccountChanges, patience_s: float = PATIENCE_S) -> None:
        self._ledger = ledger
        self._mender = mender
        self._patience_s = patience_s

    def run_once(self) -> int:
        """Mend what has been unfinished for too long; returns how many. What fails is found again."""
        mended = 0
        for left in self._ledger.unfinished(self._patience_s):
            try:
                self._mender.mend(left)
            except Fault as fault:
                log.warning("a broken-off change of account %s is not mended yet: %s", left.account_id, fault)
                continue
            log.warning("account %s: a change by %s was broken off and is mended", left.account_id, left.actor)
            mended += 1
        return mended
