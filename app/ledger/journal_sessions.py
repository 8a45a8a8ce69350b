"""The ledger for journals, reversals and refunds, whose callers wait for them: a pool of sessions with locks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from queue import Empty, LifoQueue
from threading import BoundedSemaphore

from psycopg import IsolationLevel

from app.domain.errors import ConcurrencyRetryExhausted
from app.ledger.conflicts import Conflicts
from app.ledger.connections import POSTING_IDLE_S, SILENCE_S, LedgerConnection, SessionLimits, connect
from app.ledger.locked_posting import Posting
from app.ledger.posting_session import keep_drains_away, open_posting, patient_transaction

CONNECTIONS = 8
"""Operations of one process that post at once. Their transactions follow one another anyway; the rest overlaps."""

LONGEST_WAIT_S = 5.0
"""For a connection of the pool, or for a lock that another operation holds."""

_LOCK = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"
_CHAIN = "chain of journals"


class JournalSession:
    """One connection, for one operation at a time."""

    def __init__(self, database_url: str, chain: int) -> None:
        self._ledger = LedgerConnection(
            partial(
                connect,
                database_url,
                application_name="holdfast journals",
                limits=SessionLimits(idle_in_transaction_s=POSTING_IDLE_S, idle_session_s=POSTING_IDLE_S),
                patience_s=LONGEST_WAIT_S + SILENCE_S,
                isolation_level=IsolationLevel.SERIALIZABLE,
            )
        )
        self._chain = chain
        self.conflicts = Conflicts(self._ledger)

    @contextmanager
    def locked(self, names: Sequence[str]) -> Iterator[None]:
        """Hold advisory locks, taken in this order; ConcurrencyConflict if another session keeps one.

        The locks belong to the session and not to a transaction, so a session that waited for one sees all that its
        holder wrote.
        """
        with patient_transaction(self._ledger, LONGEST_WAIT_S) as connection:
            for name in names:
                connection.execute(_LOCK, (name,))
        try:
            yield
        finally:
            if self._ledger.is_open:
                self._ledger.rows(_UNLOCK, (list(names),))

    @contextmanager
    def posting_journal(self, *, without_drains: bool = False) -> Iterator[Posting]:
        """A SERIALIZABLE transaction at the head of the chain of journals; one at a time, so none aborts another.

        With `without_drains` the drains finish their turns and wait: on a busy account they may hold the row nearly
        always.
        """
        away = keep_drains_away(self._ledger, range(self._chain), LONGEST_WAIT_S) if without_drains else nullcontext()
        with self.locked([_CHAIN]), away, open_posting(self._ledger, self.conflicts, [self._chain]) as posting:
            yield posting

    def renew(self) -> None:
        """Close a connection that the server has closed while nobody used it; the next use opens another one."""
        self._ledger.close_if_lost()

    def close(self) -> None:
        """Give the connection back."""
        self._ledger.close()


class JournalSessions:
    """The pool. What is posted here belongs to partition `chain`, which follows those of the payments.

    It is not psycopg_pool, which says only that the time is up, and not whether the ledger is down.
    """

    def __init__(self, database_url: str, chain: int, size: int = CONNECTIONS) -> None:
        self._database_url = database_url
        self._chain = chain
        self._places = BoundedSemaphore(size)
        self._idle: LifoQueue[JournalSession] = LifoQueue()

    @contextmanager
    def session(self, names: Sequence[str]) -> Iterator[JournalSession]:
        """A session that holds these locks; ConcurrencyRetryExhausted if all are in use."""
        if not self._places.acquire(timeout=LONGEST_WAIT_S):
            raise ConcurrencyRetryExhausted("all connections for journals and refunds are in use")
        try:
            session = self._take()
            session.renew()
            try:
                with session.locked(names):
                    yield session
            except BaseException:
                session.close()  # its locks end with it
                raise
            self._idle.put(session)
        finally:
            self._places.release()

    def close(self) -> None:
        """Give the idle connections back."""
        while not self._idle.empty():
            self._take().close()

    def _take(self) -> JournalSession:
        try:
            return self._idle.get_nowait()
        except Empty:
            return JournalSession(self._database_url, self._chain)
