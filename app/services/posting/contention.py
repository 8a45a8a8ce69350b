"""Contention: backing off from accounts that another transaction has locked.

A drain that cannot lock an account leaves the account's intents in the outbox and tries again after a random, growing
delay. When the tries are used up, requests that wait for these intents are told so; the drain goes on trying.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

RETRIES = 6
"""Six tries with the delays below span about a second: longer than any posting, shorter than a client's patience."""

FIRST_DELAY_S = 0.02
"""About one posting transaction."""

LONGEST_DELAY_S = 1.0


def backoff_s(attempt: int, jitter: float) -> float:
    """The delay before the next try, in seconds: a random part (`jitter`, 0 to 1) of one that doubles with each try."""
    return jitter * min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**attempt)


@dataclass(slots=True)
class _Wait:
    attempts: int
    until: float
    began: float


class Contention:
    """Which accounts were locked by others, how often, and when to try them again."""

    def __init__(self, monotonic: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._jitter = jitter
        self._waits: dict[str, _Wait] = {}
        self._ended_s: dict[str, float] = {}

    def waiting(self) -> set[str]:
        """The accounts that must not be tried yet."""
        now = self._monotonic()
        return {account_id for account_id, wait in self._waits.items() if wait.until > now}

    def note(self, account_ids: Iterable[str]) -> set[str]:
        """Count one more failed try of these accounts; returns those whose tries are used up.

        Their count starts again from zero, and they are tried again after the longest delay.
        """
        now = self._monotonic()
        exhausted = set()
        for account_id in account_ids:
            wait = self._waits.setdefault(account_id, _Wait(0, 0.0, now))
            wait.attempts += 1
            if wait.attempts >= RETRIES:
                exhausted.add(account_id)
                wait.attempts = 0
                wait.until = now + LONGEST_DELAY_S
            else:
                wait.until = now + backoff_s(wait.attempts, self._jitter())
        return exhausted

    def note_conflict(self, account_ids: Iterable[str]) -> None:
        """Note accounts for which a whole posting must be tried again; they may be tried at once."""
        now = self._monotonic()
        for account_id in account_ids:
            self._waits.setdefault(account_id, _Wait(0, 0.0, now))

    def clear(self, account_ids: Iterable[str]) -> None:
        """Forget the failed tries of accounts that could be locked now."""
        if self._waits:
            now = self._monotonic()
            for account_id in account_ids:
                wait = self._waits.pop(account_id, None)
                if wait is not None:
                    self._ended_s[account_id] = self._ended_s.get(account_id, 0.0) + now - wait.began

    def take_ended(self) -> dict[str, float]:
        """How long the waits were that have ended since the last call, in seconds, by account."""
        ended, self._ended_s = self._ended_s, {}
        return ended
