"""Starts a server again after it ended, for as long as that takes.

A full disk, a missing file, a port that somebody took: whatever prevents a start may pass. So every failure is told in
one line and tried again after a growing pause. No step waits until the server is ready, so the other processes are
looked after meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.embedded.child_process import EmbeddedServerError

if TYPE_CHECKING:
    from app.embedded.postgres import PostgresServer
    from app.embedded.valkey import CacheServer

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0


class Revival:
    """One server, and what has been done to bring it back."""

    def __init__(self, name: str, server: CacheServer | PostgresServer, ready_seconds: float) -> None:
        """`ready_seconds` is how long a start may take before it counts as failed."""
        self.name = name
        self._server = server
        self._ready_seconds = ready_seconds
        self._failures = 0
        self._due_at = 0.0
        self._ready_by: float | None = None  # while it starts

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        return self._server.pid

    def step(self, say: Callable[[str], None]) -> bool:
        """Does what is due now and returns at once; True when the server has just come back. Raises nothing."""
        now = time.monotonic()
        try:
            if self._ready_by is not None:
                return self._came_back(now)
            if self._server.pid is None and now >= self._due_at:
                self._start(now, say)
        except Exception as error:  # whatever it was may pass, and nothing here may end the system
            self._postpone(now, error, say)
        return False

    def _start(self, now: float, say: Callable[[str], None]) -> None:
        if not self._failures:
            say(f"{self.name} ended by itself; starting it again")
        self._server.stop()
        self._server.begin()
        self._ready_by = now + self._ready_seconds

    def _came_back(self, now: float) -> bool:
        if self._server.pid is None:
            raise EmbeddedServerError(self._server.failure("ended during its start"))
        if self._server.is_ready():
            self._failures, self._ready_by = 0, None
            return True
        if self._ready_by is not None and now > self._ready_by:
            raise EmbeddedServerError(self._server.failure(f"was not ready within {self._ready_seconds:.0f} seconds"))
        return False

    def _postpone(self, now: float, error: Exception, say: Callable[[str], None]) -> None:
        self._ready_by = None
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 30)
        self._due_at = now + pause
        say(f"{self.name} could not be started again, next try in {pause:.2g} s: {in_one_line(error)}")


def in_one_line(error: Exception) -> str:
    """An error's first line, and its last where that is the end of a log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
