"""The states of a cache server: what an error of its client means, and what the server says of itself.

The table of errors answers three questions: whether the command may have run, whether the connection is still of use,
and which fault the rest of the program is told. An error that is not in the table is a defect of ours.

A process also asks once a second for the server's role, memory and clock, in a round trip that it makes anyway, and
remembers the answer. So a payment is refused while there is still memory for settling, and while its time would be
wrong; and no payment costs a round trip more.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import redis

from app.domain.errors import CacheFull, CacheUnavailable, ClocksDisagree, Fault, OutcomeUnknown
from app.domain.timestamps import CLOCK_BOUND_S
from app.domain.wording import clock_in_words, sized


class Effect(Enum):
    """What became of the command."""

    NOT_RUN = "did not run"
    UNKNOWN = "may have run"
    DEFECT = "is a defect of ours"


@dataclass(slots=True, frozen=True)
class ServerState:
    """What an error means; `drops` says that the connection leads to the wrong server, or to none."""

    effect: Effect
    drops: bool
    fault: type[Fault] | None


class CacheUnreachable(redis.ConnectionError):
    """No connection could be made, so nothing was sent."""


_KEEP = ServerState(Effect.NOT_RUN, drops=False, fault=CacheUnavailable)
_DROP = ServerState(Effect.NOT_RUN, drops=True, fault=CacheUnavailable)
_FULL = ServerState(Effect.NOT_RUN, drops=False, fault=CacheFull)
_SILENT = ServerState(Effect.UNKNOWN, drops=True, fault=OutcomeUnknown)
_FORGOTTEN_SCRIPT = ServerState(Effect.NOT_RUN, drops=False, fault=None)
_DEFECT = ServerState(Effect.DEFECT, drops=False, fault=None)

STATES = {
    "OOM": _FULL,
    "READONLY": _DROP,  # a replica: the name may lead to the new primary already
    "MASTERDOWN": _DROP,
    "CLUSTERDOWN": _DROP,
    "NOAUTH": _DROP,
    "LOADING": _KEEP,
    "BUSY": _KEEP,
    "MISCONF": _KEEP,
    "NOREPLICAS": _KEEP,
    "NOSCRIPT": _FORGOTTEN_SCRIPT,  # `CacheClient.run` sends the script again
}
"""By the code that an error reply begins with."""


def state_of(error: BaseException) -> ServerState:
    """What an error means.

    If redis-py has a class for a code, it cuts the code off the message and keeps it as `status_code`.
    """
    if isinstance(error, CacheUnreachable) or "max number of clients" in str(error):
        return _DROP
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    if code in STATES:
        return STATES[code]
    return _SILENT if isinstance(error, (redis.ConnectionError, redis.TimeoutError)) else _DEFECT


def refused_before_running(error: BaseException) -> bool:
    """Whether the server refused a command without running it, for a temporary reason."""
    state = state_of(error)
    return state.effect is Effect.NOT_RUN and state.fault is not None


PROBE = (("INFO", "memory", "replication"), ("TIME",))
"""The commands; their replies are the arguments of `server_from`."""

REMEMBERED_S = 1.0
"""How old an answer may be. A process accepts some ten megabytes of payments in that time at the very most."""

RESERVE_PERCENT = 10
"""The part of the memory limit that is left to settling, to captures and to what is read from the ledger."""


@dataclass(slots=True, frozen=True)
class CacheServer:
    """One answer. `used_bytes` and `limit_bytes` are memory, a limit of 0 is none; `clock_ahead_s` compares clocks."""

    role: str
    used_bytes: int
    limit_bytes: int
    clock_ms: int
    clock_ahead_s: float
    """By how much the server's clock is certainly ahead of this machine's, negative if it is behind."""

    @property
    def is_primary(self) -> bool:
        """Whether it takes writes."""
        return self.role == "master"

    def has_room(self, reserve_percent: int) -> bool:
        """Whether there is memory for new payments beside the reserve."""
        return not self.limit_bytes or self.used_bytes < self.limit_bytes * (100 - reserve_percent) // 100


def server_from(info: str, clock: Sequence[Any], sent_at: float, answered_at: float) -> CacheServer:
    """The answer in the replies to PROBE, asked and answered at these times of this machine (seconds since 1970)."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    seconds = int(clock[0]) + int(clock[1]) / 1e6
    return CacheServer(
        role=fields.get("role", "master"),
        used_bytes=int(fields.get("used_memory", 0)),
        limit_bytes=int(fields.get("maxmemory", 0)),
        clock_ms=int(seconds * 1000),
        clock_ahead_s=max(0.0, seconds - answered_at) + min(0.0, seconds - sent_at),
    )


class ServerWatch:
    """The latest answer, and whether payments may be accepted on it."""

    def __init__(
        self,
        reserve_percent: int = RESERVE_PERCENT,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.reserve_percent = reserve_percent
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._asked_at = float("-inf")
        self._sent_at = 0.0
        self._obstacle: Exception | None = None

    @property
    def blocks(self) -> bool:
        """Whether the latest answer keeps payments from being accepted."""
        return self._obstacle is not None

    def begin(self) -> bool:
        """Whether it is time to ask again. If so, the caller sends PROBE now, and `note`s the replies."""
        now = self._monotonic()
        if now - self._asked_at < REMEMBERED_S:
            return False
        self._asked_at = now
        self._sent_at = self._wall_clock()
        return True

    def note(self, replies: Sequence[Any]) -> None:
        """Remember the replies to PROBE; nothing is learned from a server that does not tell."""
        if not any(isinstance(reply, Exception) for reply in replies):
            info, clock = replies
            self._obstacle = self.obstacle(server_from(info, clock, self._sent_at, self._wall_clock()))

    def require_fit(self) -> None:
        """Raise CacheFull or ClocksDisagree if no payment may be accepted now."""
        if self._obstacle is not None:
            raise type(self._obstacle)(*self._obstacle.args)

    def obstacle(self, server: CacheServer) -> CacheFull | ClocksDisagree | None:
        """What keeps payments from being accepted on this server."""
        if not server.has_room(self.reserve_percent):
            return CacheFull(
                f"the cache uses {sized(server.used_bytes)} of {sized(server.limit_bytes)} (maxmemory), and the last "
                f"{self.reserve_percent} % are kept for settling; raise maxmemory, or wait until the drains have posted"
            )
        if abs(server.clock_ahead_s) > CLOCK_BOUND_S:
            return ClocksDisagree(
                f"by this machine's clock, the cache's is {clock_in_words(server.clock_ahead_s)}, and the bound is "
                f"{CLOCK_BOUND_S:.0f} s; synchronize both"
            )
        return None
