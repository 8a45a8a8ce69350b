"""The known states of a cache server: the one table that says what an error of its client means.

Three questions are answered for each: whether the command may have run, whether the connection is still of use, and
which fault the rest of the program is told. An error that is not in the table is a defect of ours.
"""

from dataclasses import dataclass
from enum import Enum

import redis

from app.domain.errors import CacheFull, CacheUnavailable, Fault, OutcomeUnknown


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
