"""SQLAlchemy engines for the ledger: everything but posting and reconciliation uses them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import CollectionAggregate, Engine, ExceptionContext, Text, any_, create_engine, event, literal, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from app.domain.errors import LedgerUnavailable
from app.ledger.connections import CONNECT_TIMEOUT_S, SILENCE_S, STATEMENT_TIMEOUT_S, SessionLimits, connect, translated
from app.ledger.server_states import state_of


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
        creator=partial(
            connect,
            database_url,
            application_name=application_name,
            limits=SessionLimits(statement_timeout_s),
            patience_s=statement_timeout_s + SILENCE_S,
        ),
        poolclass=_Pool,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
    )
    event.listen(engine, "handle_error", _drop_useless)
    return engine


def _drop_useless(context: ExceptionContext) -> None:
    """Have the pool open new connections after an error that says that the present ones are of no use."""
    error = context.original_exception
    if isinstance(error, psycopg.Error) and state_of(error).drops:
        context.is_disconnect = True


@dataclass(slots=True, frozen=True)
class LedgerServer:
    """What the ledger's server says of itself; `clock_ahead_s` is how far its clock is ahead of this machine's."""

    is_standby: bool
    is_read_only: bool
    clock_ahead_s: float


def look_at_server(engine: Engine) -> LedgerServer:
    """Role and clock of the server, now."""
    query = text("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', clock_timestamp()")
    with translated(), engine.connect() as connection:
        sent_at = time.time()
        is_standby, is_read_only, clock = connection.execute(query).one()
        answered_at = time.time()
    said = clock.timestamp()
    return LedgerServer(is_standby, is_read_only, max(0.0, said - answered_at) + min(0.0, said - sent_at))


def rows_of(engine: Engine) -> Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]:
    """Runs one statement of the driver in a transaction of its own, on any connection of the pool."""

    def rows(query: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        with translated(), engine.begin() as connection:
            return connection.exec_driver_sql(query, dict(parameters)).fetchall()

    return rows


def transactions_of(engine: Engine) -> Callable[[], AbstractContextManager[Callable[[str, Mapping[str, Any]], Any]]]:
    """Opens a transaction on any connection of the pool, and gives its way to run a statement of the driver."""

    @contextmanager
    def begin() -> Iterator[Callable[[str, Mapping[str, Any]], Any]]:
        with translated(), engine.begin() as connection:
            yield connection.exec_driver_sql

    return begin


def separate_connection(engine: Engine) -> psycopg.Connection[Any]:
    """A connection with the engine's settings, outside its pool.

    Each statement commits by itself and may be prepared: `LedgerConnection.run` sends one again that the server forgot.
    """
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    connection.autocommit = True
    connection.prepare_threshold = 0
    return connection  # type: ignore[no-any-return]


def owner_engine(owner_database_url: str) -> Engine:
    """An engine with the owner's rights: for migrations, and for making API keys."""
    return create_engine(
        _sqlalchemy_url(owner_database_url),
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "holdfast owner"},
    )


def _sqlalchemy_url(database_url: str) -> URL:
    return make_url(database_url).set(drivername="postgresql+psycopg")


def any_of(values: Iterable[str]) -> CollectionAggregate[bool]:
    """`= ANY(array)`: one bound parameter, so the same prepared statement serves any number of values."""
    return any_(literal(list(values), ARRAY(Text)))
