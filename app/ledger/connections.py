"""Connections to the ledger, and the one place where database errors become the project's own.

This module does not import SQLAlchemy, so the processes that only post or reconcile start without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import POLLIN, poll
from typing import Any

import psycopg
from psycopg import IsolationLevel, errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from app.domain.errors import ConcurrencyConflict, Fault, LedgerConstraintViolated, LedgerUnavailable

APP_ROLE = "holdfast_app"
"""The role that the migrations grant to. Every connection takes it on, so the grants bind the app itself."""

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_S = 10.0
"""No request waits longer for the ledger. Reconciliation sets no limit."""

SILENCE_S = 1.0
"""How much later than the server's own timeout a client gives up. Only a frozen server lets it come to that."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection that stops waiting after `patience_s`: a frozen server neither answers nor cancels a statement."""

    patience_s: float | None = None

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer. If none comes in time, the connection is closed, because its state is unknown."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect(
    database_url: str,
    *,
    application_name: str,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    lock_timeout_ms: int = 0,
    patience_s: float | None = None,
    isolation_level: IsolationLevel | None = None,
) -> psycopg.Connection[Any]:
    """Open a connection that acts as the app's role.

    A `statement_timeout_s` or `lock_timeout_ms` of 0 sets no limit. Without `patience_s` the connection waits for a
    frozen server until that goes on.
    """
    arguments = connect_arguments(database_url, application_name, statement_timeout_s)
    arguments["options"] += f" -c lock_timeout={lock_timeout_ms}"
    connection = PatientConnection.connect(database_url, **arguments)
    connection.patience_s = patience_s
    connection.isolation_level = isolation_level
    return connection


def connect_arguments(
    database_url: str, application_name: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> dict[str, Any]:
    """What every connection is opened with: its timeouts, its time zone, and the app's role."""
    options = f"-c statement_timeout={statement_timeout_s * 1000:.0f} -c timezone=UTC"
    if conninfo_to_dict(database_url).get("user") != APP_ROLE:
        options += f" -c role={APP_ROLE}"
    return {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": application_name, "options": options}


class LedgerConnection:
    """One connection that its owner keeps. It opens on its first use, and opens again after it broke.

    `open_connection` opens it. With `checks_idle`, a connection that the server has closed since the last use is
    replaced before the next one. Without, that use fails: whoever holds locks by its connection must hear that they
    are gone. It is not for several threads at once.
    """

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]], *, checks_idle: bool = False) -> None:
        self._open = open_connection
        self._checks_idle = checks_idle
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, and with it the locks that its session holds."""
        return self._connection is not None and not self._connection.closed

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection[Any]]:
        """The open connection; raises the project's faults, and closes a connection that does not work."""
        try:
            with translated():
                yield self._opened()
        except LedgerUnavailable:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection in a transaction, which commits at the end and rolls back on an error."""
        with self.use() as connection, connection.transaction():
            yield connection

    def rows(self, query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """All rows of one query, in a transaction of its own."""
        with self.transaction() as connection:
            return connection.execute(query, parameters).fetchall()

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> psycopg.Connection[Any]:
        if self._connection is not None and self._checks_idle and _was_spoken_to(self._connection):
            self.close()
        if self._connection is None or self._connection.closed:
            self._connection = self._open()
        return self._connection


def _was_spoken_to(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has sent something unasked, as it does when it closes a connection."""
    if connection.closed:
        return True
    waiting = poll()
    waiting.register(connection.fileno(), POLLIN)
    return bool(waiting.poll(0))


_RETRYABLE = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_RACED_CONSTRAINTS = frozenset({"ledger_transaction_external_id", "ledger_transaction_pkey"})
"""Unique keys that only a concurrent posting can violate. The next attempt sees the other's row."""


def translate(error: psycopg.Error) -> Fault | psycopg.Error:
    """The project's fault for a driver error; the error itself if it is a defect of ours."""
    constraint = error.diag.constraint_name or ""
    if isinstance(error, _RETRYABLE):
        return ConcurrencyConflict(str(error))
    if isinstance(error, errors.UniqueViolation) and constraint in _RACED_CONSTRAINTS:
        return ConcurrencyConflict(str(error))
    if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):  # DataError: no column takes the value
        return LedgerConstraintViolated(constraint, str(error))
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return LedgerUnavailable(str(error))
    return error


@contextmanager
def translated() -> Iterator[None]:
    """Raise the project's faults in place of the driver's errors, also where SQLAlchemy has wrapped them.

    SQLAlchemy keeps the driver's error as `orig`.
    """
    try:
        yield
    except TimeoutError as error:
        raise LedgerUnavailable(str(error)) from error
    except Exception as error:
        cause = getattr(error, "orig", error)
        if isinstance(cause, psycopg.Error):
            raise translate(cause) from error
        raise
