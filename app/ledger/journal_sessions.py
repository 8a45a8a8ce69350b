"""The books for operations that are posted while their caller waits: a pool of connections, and locks taken first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from queue import Empty, LifoQueue
from threading import BoundedSemaphore

from app.domain.errors import ConcurrencyRetryExhausted
from app.ledger.connections import SILENCE_S
from app.ledger.posting import Posting
from app.ledger.posting_session import LOCK_TIMEOUT, PostingSession

CONNECTIONS = 8
"""Operations of one process that post at once. Their transactions follow one another anyway; the rest overlaps."""

LONGEST_WAIT_S = 5.0
"""For a connection of the pool, or for a lock that another operation holds."""

_LOCK = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"
_CHAIN = "chain of journals"


class JournalSession(PostingSession):
    """One connection, for one operation at a time."""

    process = "journals"
    patience_s = LONGEST_WAIT_S + SILENCE_S
    lock_timeout_ms = 0

    def __init__(self, database_url: str, chain: int) -> None:
        super().__init__(database_url)
        self._chain = chain

    @contextmanager
    def locked(self, names: Sequence[str]) -> Iterator[None]:
        """Hold advisory locks, taken in this order; ConcurrencyConflict where another session keeps one.

        They belong to the session and not to a transaction, so whoever waited for one sees all that its holder wrote.
        """
        with self._guarded() as connection, connection.transaction():
            # Serializable, a long wait would keep the traces of all that others do meanwhile.
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.execute(LOCK_TIMEOUT, (f"{LONGEST_WAIT_S:.0f}s",))
            for name in names:
                connection.execute(_LOCK, (name,))
        try:
            yield
        finally:
            if self._connection is not None:
                with self._guarded() as connection, connection.transaction():
                    connection.execute(_UNLOCK, (list(names),))

    @contextmanager
    def posting_journal(self, *, without_drains: bool = False) -> Iterator[Posting]:
        """A SERIALIZABLE transaction at the head of the chain of journals; one at a time, so none aborts another.

        `without_drains`: the drains end what they are at and wait, for they may hold the same balances time and again.
        """
        with (
            self.locked([_CHAIN]),
            self.without_drains(range(self._chain), LONGEST_WAIT_S) if without_drains else nullcontext(),
            self.posting([self._chain]) as posting,
        ):
            yield posting


class JournalSessions:
    """The pool. Partition `chain` of the books, behind those of the payments, takes what is posted here."""

    def __init__(self, database_url: str, chain: int, size: int = CONNECTIONS) -> None:
        self._database_url = database_url
        self._chain = chain
        self._places = BoundedSemaphore(size)
        self._idle: LifoQueue[JournalSession] = LifoQueue()

    @contextmanager
    def session(self, names: Sequence[str]) -> Iterator[JournalSession]:
        """A session that holds these locks; ConcurrencyRetryExhausted where all are taken."""
        if not self._places.acquire(timeout=LONGEST_WAIT_S):
            raise ConcurrencyRetryExhausted("all connections for journals and refunds are in use")
        try:
            session = self._take()
            try:
                with session.locked(names):
                    yield session
            except BaseException:
                session.close()  # whatever it still held ends with it
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
