"""Mending what a killed process leaves of a change of an account."""

import logging
from typing import Protocol

from app.domain.changes import UnfinishedChange
from app.domain.faults import Fault

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Far longer than any change takes, so that nobody's work is undone under their hands; if it were, they are told."""


class MendBooks(Protocol):
    """The books, for finding what was broken off."""

    def unfinished(self, older_than_s: float) -> list[UnfinishedChange]: ...


class Mender(Protocol):
    """Who knows how an account is brought out of a change."""

    def mend(self, left: UnfinishedChange) -> None: ...


class Mending:
    """The sweep over unfinished changes."""

    def __init__(self, books: MendBooks, mender: Mender, patience_s: float = PATIENCE_S) -> None:
        self._books = books
        self._mender = mender
        self._patience_s = patience_s

    def run_once(self) -> int:
        """Mend what has been unfinished for too long; returns how many. What fails is found again."""
        mended = 0
        for left in self._books.unfinished(self._patience_s):
            try:
                self._mender.mend(left)
            except Fault as fault:
                log.warning("a broken-off change of account %s is not mended yet: %s", left.account_id, fault)
                continue
            log.warning("account %s: a change by %s was broken off and is mended", left.account_id, left.actor)
            mended += 1
        return mended
