"""The accounts' facts, kept in the process, and never older than a partition allows.

Every change of an account's facts raises the directory version, in the books and then in every partition. The reserve
script compares it with the version the caller knows, so a freeze takes effect on the very next payment although the
facts are cached here.
"""

from collections.abc import Callable, Iterable

from app.domain.accounts import AccountFacts
from app.services.ports import DirectoryBooks

CAPACITY = 500_000
"""Accounts kept a process, about 150 bytes each; beyond it the directory starts anew."""


class DirectorySnapshot:
    """Facts that are at least as new as `version`."""

    def __init__(self, version: int, books: DirectoryBooks) -> None:
        self.version = version
        self._books = books
        self._known: dict[str, AccountFacts] = {}

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """The facts of these accounts; those that do not exist are left out, and asked for again next time."""
        known = self._known
        wanted = set(account_ids)
        missing = [account_id for account_id in wanted if account_id not in known]
        if missing:
            if len(known) + len(missing) > CAPACITY:
                known = self._known = {}
                missing = list(wanted)
            known.update(self._books.facts(missing))
        return {account_id: known[account_id] for account_id in wanted if account_id in known}


class AccountDirectory:
    """The current snapshot of a process."""

    def __init__(self, books: DirectoryBooks, before_use: Callable[[], None] = lambda: None) -> None:
        """`before_use` may refuse to work at all; it is called whenever the directory is read anew."""
        self._books = books
        self._before_use = before_use
        self._snapshot: DirectorySnapshot | None = None

    def snapshot(self) -> DirectorySnapshot:
        """The snapshot to use for one request, throughout."""
        return self._snapshot or self.refresh()

    def refresh(self) -> DirectorySnapshot:
        """Start anew from the books. A request under way keeps its old snapshot, and the script finds it stale."""
        self._before_use()
        self._snapshot = DirectorySnapshot(self._books.directory_version(), self._books)
        return self._snapshot
