"""Connections of the driver to the books, and the one place where its errors become the project's own.

Nothing here knows SQLAlchemy: what posts and proves does without it, and so without its import.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from app.domain.errors import ConcurrencyConflict, Fault, LedgerConstraintViolated, LedgerUnavailable

APP_ROLE = "holdfast_app"
"""The role that the migrations grant to; whoever connects takes it on, so the grants bind the app itself."""

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_S = 10.0
"""No request waits longer on the books; long proofs set their own."""

SILENCE_S = 1.0
"""How much later than the server's own time-out a client gives up: only a frozen server lets it come to that."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose patience ends: a frozen server neither answers nor fails, and cancels no statement itself."""

    patience_s: float | None = None

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer; where none comes in time, the connection is closed, for its state is unknown."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect(
    database_url: str, *, application_name: str, patience_s: float | None = None, lock_timeout_ms: int = 0
) -> psycopg.Connection[Any]:
    """One connection of its own, for COPY and streaming, that acts as the app's role.

    Without `patience_s` it waits for a frozen server until that goes on; without `lock_timeout_ms`, for any lock.
    """
    arguments = connect_arguments(database_url, application_name)
    arguments["options"] += f" -c lock_timeout={lock_timeout_ms}"
    connection = PatientConnection.connect(database_url, **arguments)
    connection.patience_s = patience_s
    return connection


def connect_arguments(
    database_url: str, application_name: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> dict[str, Any]:
    """What every connection is opened with: its deadlines, its time zone, and the app's role."""
    options = f"-c statement_timeout={statement_timeout_s * 1000:.0f} -c timezone=UTC"
    if conninfo_to_dict(database_url).get("user") != APP_ROLE:
        options += f" -c role={APP_ROLE}"
    return {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": application_name, "options": options}


_RETRYABLE = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_RACED_CONSTRAINTS = frozenset({"ledger_transaction_external_id", "ledger_transaction_pkey"})
"""Unique keys that only a concurrent posting can violate: the next attempt sees the other's row."""


def translate(error: psycopg.Error) -> Fault | psycopg.Error:
    """The project's fault for a driver error; the error itself where it is a defect of ours."""
    constraint = error.diag.constraint_name or ""
    if isinstance(error, _RETRYABLE):
        return ConcurrencyConflict(str(error))
    if isinstance(error, errors.UniqueViolation) and constraint in _RACED_CONSTRAINTS:
        return ConcurrencyConflict(str(error))
    if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):  # a value that no column takes is refused too
        return LedgerConstraintViolated(constraint, str(error))
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return LedgerUnavailable(str(error))
    return error


@contextmanager
def translated() -> Iterator[None]:
    """Raise the project's faults in place of the driver's errors."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error
    except TimeoutError as error:
        raise LedgerUnavailable(str(error)) from error
