"""SQLAlchemy's engines over the books: for whatever is neither posted nor proved."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import CollectionAggregate, Engine, Text, any_, create_engine, event, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import LedgerUnavailable
from app.ledger.connections import (
    CONNECT_TIMEOUT_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    PatientConnection,
    connect_arguments,
    translate,
)
from app.ledger.connections import translated as driver_errors_translated


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
        connect_args=connect_arguments(database_url, application_name, statement_timeout_s),
    )

    @event.listens_for(engine, "do_connect")
    def connect_patiently(_dialect: object, _record: object, arguments: Any, named: Any) -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **named)
        connection.patience_s = statement_timeout_s + SILENCE_S
        return connection

    return engine


def owner_engine(owner_database_url: str) -> Engine:
    """An engine with the owner's rights: for migrations, and for making API keys."""
    return create_engine(_sqlalchemy_url(owner_database_url), connect_args={"connect_timeout": CONNECT_TIMEOUT_S})


def _sqlalchemy_url(database_url: str) -> URL:
    return make_url(database_url).set(drivername="postgresql+psycopg")


def any_of(values: Iterable[str]) -> CollectionAggregate[bool]:
    """`= ANY(array)`: one bound parameter, so that the statement is prepared once whatever the number of values."""
    return any_(literal(list(values), ARRAY(Text)))


@contextmanager
def translated() -> Iterator[None]:
    """Raise the project's faults in place of SQLAlchemy's errors and the driver's."""
    try:
        with driver_errors_translated():
            yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from error
        raise
    except PoolTimeout as error:
        raise LedgerUnavailable(str(error)) from error
