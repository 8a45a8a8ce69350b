"""SQLAlchemy engines for the ledger: everything but posting and reconciliation uses them."""

from collections.abc import Iterable
from typing import Any

import psycopg
from sqlalchemy import CollectionAggregate, Engine, Text, any_, create_engine, event, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from app.domain.errors import LedgerUnavailable
from app.ledger.connections import (
    CONNECT_TIMEOUT_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    PatientConnection,
    connect_arguments,
)


class _Pool(QueuePool):
    """A pool that raises the project's fault when all connections stay in use."""

    def connect(self) -> PoolProxiedConnection:
        """A connection from the pool."""
        try:
            return super().connect()
        except PoolTimeout as error:
            raise LedgerUnavailable(str(error)) from error


def engine_for(
    database_url: str, *, application_name: str, pool_size: int = 5, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> Engine:
    """A pooled engine that acts as the app's role."""
    engine = create_engine(
        _sqlalchemy_url(database_url),
        poolclass=_Pool,
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


def separate_connection(engine: Engine) -> psycopg.Connection[Any]:
    """A connection with the engine's settings, outside its pool; each statement commits by itself."""
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    connection.autocommit = True
    return connection  # type: ignore[no-any-return]


def owner_engine(owner_database_url: str) -> Engine:
    """An engine with the owner's rights: for migrations, and for making API keys."""
    return create_engine(_sqlalchemy_url(owner_database_url), connect_args={"connect_timeout": CONNECT_TIMEOUT_S})


def _sqlalchemy_url(database_url: str) -> URL:
    return make_url(database_url).set(drivername="postgresql+psycopg")


def any_of(values: Iterable[str]) -> CollectionAggregate[bool]:
    """`= ANY(array)`: one bound parameter, so the same prepared statement serves any number of values."""
    return any_(literal(list(values), ARRAY(Text)))
