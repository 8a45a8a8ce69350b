"""Connections to the books, and the one place where driver errors become the project's own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import CollectionAggregate, Engine, Text, any_, create_engine, event, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.faults import BooksUnavailable, ConcurrencyConflict, Fault, LedgerConstraintViolated

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


def engine_for(
    database_url: str, *, application_name: str, pool_size: int = 5, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> Engine:
    """A pooled engine that acts as the app's role."""
    engine = create_engine(
        _sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args=_connect_arguments(database_url, application_name, statement_timeout_s),
    )

    @event.listens_for(engine, "do_connect")
    def connect_patiently(_dialect: object, _record: object, arguments: Any, named: Any) -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **named)
        connection.patience_s = statement_timeout_s + SILENCE_S
        return connection

    return engine


def connect(
    database_url: str, *, application_name: str, patience_s: float | None = None, lock_timeout_ms: int = 0
) -> psycopg.Connection[Any]:
    """One connection of its own, for COPY and streaming, that acts as the app's role.

    Without `patience_s` it waits for a frozen server until that goes on; without `lock_timeout_ms`, for any lock.
    """
    arguments = _connect_arguments(database_url, application_name)
    arguments["options"] += f" -c lock_timeout={lock_timeout_ms}"
    connection = PatientConnection.connect(database_url, **arguments)
    connection.patience_s = patience_s
    return connection


def owner_engine(owner_database_url: str) -> Engine:
    """An engine for migrations, with the owner's rights."""
    return create_engine(_sqlalchemy_url(owner_database_url), connect_args={"connect_timeout": CONNECT_TIMEOUT_S})


def _sqlalchemy_url(database_url: str) -> URL:
    return make_url(database_url).set(drivername="postgresql+psycopg")


def _connect_arguments(
    database_url: str, application_name: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> dict[str, Any]:
    options = f"-c statement_timeout={statement_timeout_s * 1000:.0f} -c timezone=UTC"
    if make_url(database_url).username != APP_ROLE:
        options += f" -c role={APP_ROLE}"
    return {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": application_name, "options": options}


def any_of(values: Iterable[str]) -> CollectionAggregate[bool]:
    """`= ANY(array)`: one bound parameter, so that the statement is prepared once whatever the number of values."""
    return any_(literal(list(values), ARRAY(Text)))


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
        return BooksUnavailable(str(error))
    return error


@contextmanager
def translated() -> Iterator[None]:
    """Raise the project's faults in place of driver errors."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from error
        raise
    except psycopg.Error as error:
        raise translate(error) from error
    except (TimeoutError, PoolTimeout) as error:
        raise BooksUnavailable(str(error)) from error
