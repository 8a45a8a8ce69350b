"""The known states of the ledger's server: the one table that says what an error of its driver means.

Three questions are answered for each: whether the statement may have changed something, whether the connection is still
of use, and which fault the rest of the program is told. An error that is not in the table is a defect of ours.
"""

from dataclasses import dataclass
from enum import Enum

import psycopg

from app.domain.errors import ConcurrencyConflict, Fault, LedgerConstraintViolated, LedgerUnavailable


class Effect(Enum):
    """What became of the transaction that the statement belongs to."""

    NOT_RUN = "did not run"
    UNKNOWN = "may have run"
    DEFECT = "is a defect of ours"


class Means(Enum):
    """The fault that an error stands for."""

    CONFLICT = "conflict"
    VIOLATION = "violation"
    UNAVAILABLE = "unavailable"
    DEFECT = "defect"


@dataclass(slots=True, frozen=True)
class ServerState:
    """What an error means; `drops` says that the connection is of no more use.

    With `is_stale` only the connection is to blame: the same statement succeeds on a new one.
    """

    effect: Effect
    drops: bool
    means: Means
    is_stale: bool = False


_CONFLICT = ServerState(Effect.NOT_RUN, drops=False, means=Means.CONFLICT)
_VIOLATION = ServerState(Effect.NOT_RUN, drops=False, means=Means.VIOLATION)
_REFUSED = ServerState(Effect.NOT_RUN, drops=True, means=Means.UNAVAILABLE)
_LOST = ServerState(Effect.UNKNOWN, drops=True, means=Means.UNAVAILABLE)
_STALE = ServerState(Effect.NOT_RUN, drops=True, means=Means.UNAVAILABLE, is_stale=True)
_DEFECT = ServerState(Effect.DEFECT, drops=False, means=Means.DEFECT)

STATES = {
    "40001": _CONFLICT,  # serialization failure
    "40P01": _CONFLICT,  # deadlock
    "55P03": _CONFLICT,  # lock not available
    "25006": _REFUSED,  # read-only: a standby, or set so; the name may lead to the new primary already
    "25P03": _LOST,  # idle in transaction for too long
    "25P04": _LOST,  # transaction for too long
    "26000": _STALE,  # a prepared statement that the server does not know
    "57014": _REFUSED,  # statement timeout
    "08": _LOST,  # connection
    "22": _VIOLATION,  # a value that no column takes
    "23": _VIOLATION,  # constraint
    "28": _REFUSED,  # log-in
    "3D": _REFUSED,  # no such database
    "40": _LOST,  # 40003: completion unknown
    "53": _REFUSED,  # disk full, out of memory, too many connections
    "55": _REFUSED,  # e.g. a database that accepts no connections
    "57": _LOST,  # shutdown, crash, starting up
    "58": _LOST,  # input or output
}
"""By SQLSTATE, or by its class; the longer one counts."""

_STALE_PLAN = "cached plan must not change result type"
"""0A000 says many things; this one is said by a prepared statement after a column has got another type."""

_RACED_CONSTRAINTS = frozenset({"ledger_transaction_external_id", "ledger_transaction_pkey"})
"""Unique keys that only a concurrent posting can violate. The next attempt sees the other's row."""


def state_of(error: psycopg.Error) -> ServerState:
    """What an error means; one without a code comes from the driver, when the server is gone or silent."""
    code = error.sqlstate
    if code == "0A000" and _STALE_PLAN in str(error):
        return _STALE
    if code == "23505" and error.diag.constraint_name in _RACED_CONSTRAINTS:
        return _CONFLICT
    if code is not None:
        return STATES.get(code) or STATES.get(code[:2]) or _DEFECT
    if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):
        return _VIOLATION
    return _LOST if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) else _DEFECT


def translate(error: psycopg.Error) -> Fault | psycopg.Error:
    """The project's fault for a driver's error; the error itself if it is a defect of ours."""
    state = state_of(error)
    if state.means is Means.CONFLICT:
        return ConcurrencyConflict(str(error))
    if state.means is Means.VIOLATION:
        return LedgerConstraintViolated(error.diag.constraint_name or "", str(error))
    if state.means is Means.UNAVAILABLE:
        return LedgerUnavailable(str(error), not_run=state.effect is Effect.NOT_RUN)
    return error


def is_stale(fault: BaseException) -> bool:
    """Whether a fault of `translate`, raised from the driver's error, was the connection's alone."""
    cause = getattr(fault.__cause__, "orig", fault.__cause__)
    return isinstance(cause, psycopg.Error) and state_of(cause).is_stale
