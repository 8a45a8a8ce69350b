"""Connections to the ledger: how they are opened, and how one is kept and replaced.

This module does not import SQLAlchemy, so the processes that only post or reconcile start without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from select import POLLIN, poll
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from app.domain.errors import LedgerUnavailable, Misconfigured
from app.ledger.server_states import Means, is_stale, state_of, translate
from app.ledger.sql_comments import NamedCursor

APP_ROLE = "holdfast_app"
"""The role that the migrations grant to. Every connection takes it on, so the grants bind the app itself."""

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_S = 10.0
"""No request waits longer for the ledger. Reconciliation sets no limit."""

SILENCE_S = 1.0
"""How much later than the server's own timeout a client gives up. Only a frozen server lets it come to that."""

POSTING_IDLE_S = 4.0
"""How long a process that posts may say nothing while it holds locks. Then the server ends its session, and another
process takes over. A round trip to the cache, the longest pause between two statements, ends after a second."""

REQUEST_IDLE_S = 15.0
"""The same for requests. Their locks keep nobody but other changes of the same account waiting."""

PROOF_IDLE_S = 120.0
"""The same for proofs, which pause on purpose between the rows of a transaction."""

_KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""How soon either side notices that the other's machine or the network is gone: after ten seconds or so. Without them
TCP waits for two hours."""

R = TypeVar("R")


@dataclass(slots=True, frozen=True)
class SessionLimits:
    """What a session is limited to; 0 is no limit."""

    statement_timeout_s: float = STATEMENT_TIMEOUT_S
    lock_timeout_ms: int = 0
    idle_in_transaction_s: float = REQUEST_IDLE_S
    idle_session_s: float = 0.0

    def settings(self) -> dict[str, str]:
        """The limits as settings of Postgres, and those that every session has."""
        return {
            "statement_timeout": f"{self.statement_timeout_s * 1000:.0f}",
            "lock_timeout": str(self.lock_timeout_ms),
            "idle_in_transaction_session_timeout": f"{self.idle_in_transaction_s * 1000:.0f}",
            "idle_session_timeout": f"{self.idle_session_s * 1000:.0f}",
            "client_connection_check_interval": "5000",  # a statement ends soon after its client has gone
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "10000",
            "timezone": "UTC",
        }


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
    limits: SessionLimits = SessionLimits(),
    patience_s: float | None = None,
    isolation_level: IsolationLevel | None = None,
    prepares: bool = False,
) -> psycopg.Connection[Any]:
    """Open a connection that acts as the app's role; Misconfigured if the server does not let it.

    Without `patience_s` the connection waits for a frozen server until that goes on. With `prepares` it prepares
    statements that it sends often. That saves a drain time, but a caller must be ready to send a statement again.
    """
    known = conninfo_to_dict(database_url)
    chosen = {name: value for name, value in _KEEPALIVES.items() if name not in known}
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": application_name, **chosen}
    arguments["cursor_factory"] = NamedCursor
    connection = PatientConnection.connect(database_url, **arguments)
    try:
        _take_on_role(connection, limits)
    except BaseException:
        connection.close()
        raise
    connection.patience_s = patience_s
    connection.isolation_level = isolation_level
    if not prepares:
        connection.prepare_threshold = None
    return connection


def _take_on_role(connection: psycopg.Connection[Any], limits: SessionLimits) -> None:
    """Set role and limits, and make sure of the role.

    Startup options would not do: a pooler may ignore them, and then the app would work as the user who logged in.
    Options of the URL stay in force beside these.
    """
    settings = {"role": APP_ROLE, **limits.settings()}
    sets = [sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in settings.items()]
    connection.autocommit = True
    try:
        cursor = connection.execute(sql.SQL("; ").join([*sets, sql.SQL("SELECT current_user")]))
    except psycopg.Error as error:
        if state_of(error).means is Means.UNAVAILABLE:
            raise
        raise Misconfigured(f"the ledger does not let Holdfast act as {APP_ROLE}: {error}") from error
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    if row is None or row[0] != APP_ROLE:
        raise Misconfigured(f"the ledger lets Holdfast act as {row and row[0]} only, and not as {APP_ROLE}")
    connection.autocommit = False


class LedgerConnection:
    """One connection that its owner keeps. It opens on its first use, and opens again after it broke.

    `open_connection` opens it. With `checks_idle`, a connection that the server has closed since the last use is
    replaced before the next one. Without, that use fails: an owner who holds locks by it must hear that they
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

    def run(self, work: Callable[[psycopg.Connection[Any]], R]) -> R:
        """What `work` returns; it is done once more if only the connection was to blame (see `is_stale`)."""
        try:
            with self.use() as connection:
                return work(connection)
        except LedgerUnavailable as fault:
            if not is_stale(fault):
                raise
        with self.use() as connection:
            return work(connection)

    def rows(self, query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """All rows of one query, in a transaction of its own."""
        with self.transaction() as connection:
            return connection.execute(query, parameters).fetchall()

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close_if_lost(self) -> None:
        """Close a connection that the server has closed, while no lock rests on it."""
        if self._connection is not None and _was_spoken_to(self._connection):
            self.close()

    def _opened(self) -> psycopg.Connection[Any]:
        if self._checks_idle:
            self.close_if_lost()
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


@contextmanager
def locked_transaction(
    open_connection: Callable[[], psycopg.Connection[Any]], lock: str
) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on a connection of its own, alone under the name `lock`; psycopg.Rollback ends it quietly."""
    with translated():
        connection = open_connection()
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [lock])
                yield connection
        finally:
            connection.close()


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
