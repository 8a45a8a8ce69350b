"""A second look where open breaks were found: so an incremental run notices that a difference is gone.

An incremental run reads what is new, and a break is mostly about something old. Therefore each run also looks again at
the accounts and transactions of open breaks, some at a time. What only a walk over whole chains or tables can tell is
left to the full runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ChainRange

if TYPE_CHECKING:
    from app.domain.found_breaks import OpenSubject
    from app.ledger.reconciliation import LedgerReconciliation

MOST_OPEN = 500
"""Breaks that one run looks at again. Those that it leaves out come first in the next one."""

BY_EVERY_RUN = frozenset({BreakKind.TRIAL_BALANCE, BreakKind.CURSOR_AHEAD, BreakKind.INTENT_WITHOUT_HOLD})
"""What every run looks at as a whole."""

OF_CACHED_ACCOUNTS = OF_THE_CACHE - BY_EVERY_RUN - {BreakKind.CACHE_LOST}
OF_LEDGER_ACCOUNTS = frozenset(
    {
        BreakKind.BALANCE_NOT_SUM,
        BreakKind.ENTRY_GAP,
        BreakKind.ENTRY_RUNNING_BALANCE,
        BreakKind.ORPHAN_ENTRY,
    }
)
OF_TRANSACTIONS = frozenset({BreakKind.TRANSACTION_UNBALANCED, BreakKind.ORPHAN_ENTRY})


class SecondLook:
    """The open breaks that a run looks at again. `done` are those that it has looked at in full."""

    def __init__(self, breaks: Sequence[OpenSubject]) -> None:
        self._breaks = breaks
        self.done = {one.break_id for one in breaks if one.kind in BY_EVERY_RUN}

    def accounts(self) -> set[str]:
        """The accounts of these breaks, to be compared with the cache and with their last entries."""
        cached = [one for one in self._breaks if one.kind in OF_CACHED_ACCOUNTS and one.account_id is not None]
        self.done |= {one.break_id for one in cached}
        return {one.account_id for one in cached if one.account_id} | self._ledger_accounts()

    def in_ledger(self, ledger: LedgerReconciliation) -> Iterator[Break]:
        """What is still wrong in the ledger with the accounts and transactions of these breaks."""
        wanted = self._ledger_accounts()
        if wanted:
            short = ledger.short_accounts(sorted(wanted))
            yield from ledger.breaks_of_accounts(short)
            self._note(OF_LEDGER_ACCOUNTS, set(short))
        for one in self._breaks:
            if one.kind in OF_TRANSACTIONS and one.account_id is None:
                yield from ledger.transaction_breaks(_range_of(one.subject))
                self.done.add(one.break_id)

    def _ledger_accounts(self) -> set[str]:
        return {one.account_id for one in self._breaks if one.kind in OF_LEDGER_ACCOUNTS and one.account_id}

    def _note(self, kinds: Collection[str], account_ids: Collection[str]) -> None:
        self.done |= {one.break_id for one in self._breaks if one.kind in kinds and one.account_id in account_ids}


def _range_of(subject: str) -> ChainRange:
    """The range of one transaction, from a subject such as `3/17`."""
    partition, _, chain_seq = subject.partition("/")
    return ChainRange(int(partition), int(chain_seq) - 1, int(chain_seq), b"")


def without_repeats(breaks: Sequence[Break]) -> list[Break]:
    """Each break once: what is new and what was looked at again may be the same."""
    return list({(one.kind, one.subject): one for one in breaks}.values())
