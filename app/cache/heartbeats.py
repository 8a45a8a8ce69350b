"""The heartbeats of the drains: `lua/heartbeat.lua` writes them, and readiness reads them."""

from dataclasses import dataclass

from app.cache import keys
from app.cache.client import CacheClient

HOME = 0
"""The partition of the key; there is always a first one."""

FORGOTTEN_MS = 60_000
"""A drain that has been silent for this long does not come back under the same name."""

LONGEST_FAILURE = 300
"""Characters of an error that are kept; the drain's log has the rest."""


@dataclass(slots=True, frozen=True)
class Heartbeat:
    """What one drain said last."""

    process: str
    age_s: float
    """How long ago it spoke."""
    idle_s: float | None
    """How long ago a round of it last succeeded, now; None if none has yet."""
    failure: str
    """Why its latest round failed; empty if it succeeded."""


class Heartbeats:
    """The drains that have spoken within the last minute."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def beat(self, process: str, idle_s: float | None, failure: str) -> None:
        """Say that a drain is alive; `idle_s` is how long ago a round of it last succeeded."""
        idle_ms = "" if idle_s is None else int(idle_s * 1000)
        arguments = [process, idle_ms, failure[:LONGEST_FAILURE], FORGOTTEN_MS]
        self._client.run([(keys.HEARTBEAT, [keys.drains(HOME)], arguments)])

    def all(self) -> list[Heartbeat]:
        """The latest heartbeat of each drain."""
        with self._client.translated():
            flat, (seconds, microseconds) = self._client.look([("HGETALL", keys.drains(HOME)), ("TIME",)])
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return [_heartbeat(flat[n], flat[n + 1], now_ms) for n in range(0, len(flat), 2)]


def _heartbeat(process: str, text: str, now_ms: int) -> Heartbeat:
    at_ms, idle_ms, failure = text.split("|", 2)
    age_s = max(0, now_ms - int(at_ms)) / 1000
    return Heartbeat(process, age_s, age_s + int(idle_ms) / 1000 if idle_ms else None, failure)
