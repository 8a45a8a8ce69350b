"""The directory: the account facts that a process keeps in memory, never older than a partition allows.

Every change of an account's facts raises the directory version, in the ledger and then in every partition. The reserve
script compares that version with the caller's. So a freeze takes effect on the very next payment, although every
process keeps the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from app.domain.accounts import AccountFacts
from app.services.payments.coalescing import CoalescedLookUp

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.account_changes import LedgerAccountChanges
    from app.ledger.accounts import LedgerAccounts


CAPACITY = 500_000
"""Accounts that a process keeps, about 150 bytes each. A directory that grows beyond this is emptied."""

READ_AHEAD = 500
"""Expected accounts that one query reads ahead: some milliseconds once, instead of a query for each account."""

MOST_EXPECTED = 50_000
"""Accounts that a new snapshot expects to be asked for; copying their ids takes a few milliseconds."""


class DirectorySnapshot:
    """Facts at least as new as `version`. `expected` accounts are read ahead, with those that are asked for."""

    def __init__(
        self, version: int, look_up: Callable[[list[str]], dict[str, AccountFacts]], expected: Iterable[str] = ()
    ) -> None:
        self.version = version
        self._look_up = look_up
        self._known: dict[str, AccountFacts] = {}
        self._expected = list(expected)

    @property
    def recent(self) -> list[str]:
        """The accounts that were asked for last, and those that are still expected."""
        return list(dict.fromkeys([*self._expected, *self._known][-MOST_EXPECTED:]))

    def facts(self, account_ids: Collection[str], entities: Collection[str] | None = None) -> dict[str, AccountFacts]:
        """The facts of these accounts. An account that does not exist is left out, and looked up again next time.

        With `entities`, so is an account of any other entity.
        """
        if entities is not None:
            return self._facts_within(account_ids, entities)
        known = self._known
        found = {account_id: known[account_id] for account_id in account_ids if account_id in known}
        if len(found) == len(account_ids):
            return found
        wanted = set(account_ids)
        missing = [account_id for account_id in wanted if account_id not in known]
        if missing:
            if len(known) + len(missing) > CAPACITY:
                known = self._known = {}
                missing = list(wanted)
            known.update(self._look_up([*missing, *self._read_ahead()]))
        return {account_id: known[account_id] for account_id in wanted if account_id in known}

    def _facts_within(self, account_ids: Collection[str], entities: Collection[str]) -> dict[str, AccountFacts]:
        """The facts of those accounts that belong to these entities.

        One that is known and belongs to another costs a look-up of an id that does not exist: the time that a refusal
        takes must not tell the two apart. No id begins with white space.
        """
        hidden = {one for one in account_ids if one in self._known and self._known[one].entity_id not in entities}
        nowhere = {f" {account_id}" for account_id in hidden}
        found = self.facts([*(one for one in account_ids if one not in hidden), *nowhere])
        return {account_id: facts for account_id, facts in found.items() if facts.entity_id in entities}

    def _read_ahead(self) -> list[str]:
        ahead = self._expected[-READ_AHEAD:]
        del self._expected[-READ_AHEAD:]
        return [account_id for account_id in ahead if account_id not in self._known]


class AccountDirectory:
    """The current snapshot of a process."""

    def __init__(self, ledger: LedgerAccounts, before_use: Callable[[], None] = lambda: None) -> None:
        """`before_use` is called before each refresh, and may raise to stop all work."""
        self._ledger = ledger
        self.look_ups = CoalescedLookUp(ledger.facts)
        self._before_use = before_use
        self._snapshot: DirectorySnapshot | None = None

    def snapshot(self) -> DirectorySnapshot:
        """The current snapshot. A request uses the same one throughout."""
        return self._snapshot or self.refresh()

    def refresh(self) -> DirectorySnapshot:
        """Start a new snapshot from the ledger. A request in progress keeps the old one, and is found stale."""
        self._before_use()
        expected = self._snapshot.recent if self._snapshot else ()
        self._snapshot = DirectorySnapshot(self._ledger.directory_version(), self.look_ups.ask, expected)
        return self._snapshot


LATEST_CHANGES = 1_000
"""Accounts whose floors one scheduled push assigns: far more than can change while a push is overdue."""


class DirectoryPush:
    """Tells every partition the directory version, so that no process decides on older facts."""

    def __init__(self, cache: Cache, ledger: LedgerAccountChanges) -> None:
        self._cache = cache
        self._ledger = ledger
        self._pushed: int | None = None

    def push(self) -> None:
        """Push the ledger's directory version to all partitions, now."""
        self._cache.partition_states.push(self._ledger.directory_version())

    def run_once(self) -> bool:
        """Push the version, and the floors, if a partition or the last push is behind it; returns whether one was.

        A change is pushed at once. This is for the few that could not be, for instance because their process ended,
        and for a cache that has lost the push.
        """
        version = self._ledger.directory_version()
        in_force = self._cache.partition_states.directory_versions().values()
        if version == self._pushed and not any(one is not None and one < version for one in in_force):
            return False
        self._cache.partition_states.push(version)
        as_of, floors = self._ledger.floors_changed_last(LATEST_CHANGES)
        for account_id, floor_minor in floors.items():
            self._cache.accounts.limit(account_id, floor_minor, as_of, "assign")
        self._pushed = version
        return True
