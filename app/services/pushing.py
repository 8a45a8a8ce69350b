"""Pushing what has changed in the books' accounts to every partition of the cache."""

from app.services.ports.books import PushBooks
from app.services.ports.funds import PushFunds

LATEST_CHANGES = 1_000
"""Far more accounts than change while a push can be overdue; the sweep looks at no more."""


class DirectoryPush:
    """Tells every partition the directory version, so that no process decides on older facts."""

    def __init__(self, funds: PushFunds, books: PushBooks) -> None:
        self._funds = funds
        self._books = books
        self._pushed: int | None = None

    def push(self) -> None:
        """Push the books' directory version to all partitions, now."""
        version = self._books.directory_version()
        self._funds.open_all(version, self._books.last_positions())

    def run_once(self) -> bool:
        """Push if the version has grown since the last time here, and the floors with it; returns whether it had.

        Whoever makes a change pushes it at once. This is for those who could not: it finds nothing to do otherwise.
        """
        version = self._books.directory_version()
        if version == self._pushed:
            return False
        self._funds.open_all(version, self._books.last_positions())
        as_of, floors = self._books.floors_changed_last(LATEST_CHANGES)
        for account_id, floor_minor in floors.items():
            self._funds.limit(account_id, floor_minor, as_of, "assign")
        self._pushed = version
        return True
