"""Figures for monitoring: what is counted, read at the moment somebody asks."""

from dataclasses import dataclass
from typing import Protocol

from app.domain.books import ConflictCount

HOTTEST = 50
"""Accounts named with their conflict retries: a metric must not grow with the number of accounts."""


class FigureFunds(Protocol):
    """The cache, for its counts."""

    def tallies(self) -> dict[str, int]: ...
    def backlog(self) -> dict[int, int]: ...


class FigureBooks(Protocol):
    """The books, for their counts."""

    def conflicts(self, limit: int) -> list[ConflictCount]: ...
    def open_breaks(self) -> int: ...


@dataclass(slots=True)
class Figures:
    """Reserve outcomes by code, intents waiting by partition, conflict retries of the hottest accounts, open breaks."""

    outcomes: dict[str, int]
    backlog: dict[int, int]
    conflicts: list[ConflictCount]
    open_breaks: int


class FigureReader:
    """Reads the figures."""

    def __init__(self, funds: FigureFunds, books: FigureBooks) -> None:
        self._funds = funds
        self._books = books

    def read(self) -> Figures:
        """All of them, now."""
        return Figures(
            self._funds.tallies(), self._funds.backlog(), self._books.conflicts(HOTTEST), self._books.open_breaks()
        )
