"""The books as workers post to them: SERIALIZABLE, one batch, all or nothing, one drain a partition."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel

from app.domain.faults import BooksUnavailable, ConcurrencyConflict
from app.domain.posting import ChainHead, LedgerBalance
from app.domain.straight_through import StraightPlan
from app.ledger.arrays import array
from app.ledger.careful import READ_BALANCES, Posting
from app.ledger.clock import BooksClock
from app.ledger.conflicts import add_conflicts, changed_since, locked_now
from app.ledger.connecting import connect, translate, translated
from app.ledger.straight_through import PackedPlan, packed, post_straight_through

_LOCK_HEADS = """
SELECT partition, chain_seq, chain_hash, last_position, last_posted_at, pg_current_snapshot()::text
FROM partition WHERE partition = ANY(%s::smallint[]) ORDER BY partition FOR UPDATE
"""
_TRY_TO_DRAIN = """
SELECT partition, clock_timestamp() FROM unnest(%s::integer[]) AS partition
WHERE pg_try_advisory_lock(%s, partition)
"""
LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
_STOP_DRAINING = "SELECT pg_advisory_unlock(%s, partition) FROM unnest(%s::integer[]) AS partition"
_WAIT_FOR_DRAINS = "SELECT pg_advisory_lock(%s, partition) FROM unnest(%s::integer[]) AS partition"
_DRAIN_LOCK = 477_017
"""The advisory locks' class, any number of our own. A lock ends with its session, so a killed worker holds none."""


class PostingBooks:
    """The books as a worker posts to them, over one connection of its own."""

    process = "drain"
    """What the server's list of sessions shows."""

    patience_s: float | None = None
    """How long an answer is waited for; a worker has nothing better to do."""

    lock_timeout_ms = 20
    """How long a row is waited for. Whoever holds one changes it, nearly always, and then this posting must begin anew
    anyway; what is locked is passed by, and the rest posts."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection[Any] | None = None
        self._clock = BooksClock()
        self._snapshot: str | None = None
        """What the last posting transaction could see, for finding what a conflict came from."""

    @contextmanager
    def draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        """Keep other drains away from those of `partitions` that nobody is draining; yields these.

        An advisory lock and not the row lock of the posting transaction: it is taken before the transaction's
        snapshot, so two drains never abort each other, and it lasts until the batch is settled.
        """
        with self._guarded() as connection, connection.transaction():
            rows = connection.execute(_TRY_TO_DRAIN, (list(partitions), _DRAIN_LOCK)).fetchall()
        held = [row[0] for row in rows]
        if held:
            self._clock.set(rows[-1][1])
        try:
            yield held
        finally:
            if held and self._connection is not None:
                with self._guarded() as connection, connection.transaction():
                    connection.execute(_STOP_DRAINING, (_DRAIN_LOCK, held))

    @contextmanager
    def without_drains(self, partitions: Sequence[int], patience_s: float) -> Iterator[None]:
        """Wait until nobody drains these partitions, and keep the drains away; ConcurrencyConflict where it lasts.

        One at a time may do so: drains only try, so nobody waits for a lock in a circle.
        """
        try:
            with self._guarded() as connection, connection.transaction():
                # Serializable, a long wait would keep the traces of all that others do meanwhile.
                connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                connection.execute(LOCK_TIMEOUT, (f"{patience_s:.0f}s",))
                connection.execute(_WAIT_FOR_DRAINS, (_DRAIN_LOCK, list(partitions)))
            yield
        finally:
            if self._connection is not None:
                with self._guarded() as connection, connection.transaction():
                    connection.execute(_STOP_DRAINING, (_DRAIN_LOCK, list(partitions)))

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Posting]:
        """A SERIALIZABLE transaction that holds the heads of these partitions."""
        with self._guarded() as connection, connection.transaction():
            self._snapshot = None
            rows = connection.execute(_LOCK_HEADS, (list(partitions),)).fetchall()
            self._snapshot = rows[0][-1]
            yield Posting(connection, {row[0]: ChainHead(*row[:-1]) for row in rows})

    def pack(self, plan: StraightPlan) -> PackedPlan:
        """A plan made on remembered rows, ready for `post`; needs no connection."""
        return packed(plan)

    def post(self, plan: PackedPlan) -> None:
        """Write and commit a plan made on remembered rows.

        Raises RowsChanged where they were not as remembered, ConcurrencyConflict where a row is locked, changes
        meanwhile, or something is posted already, LedgerConstraintViolated as ever. Nothing is written then.
        """
        with self._guarded() as connection:
            try:
                self._clock.hear(post_straight_through(connection, plan))
                connection.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    connection.rollback()
                raise

    def now(self) -> datetime:
        """The database's time as far as it is known without asking; for who is draining."""
        return self._clock.now()

    def balances(self, account_ids: Collection[str]) -> dict[str, LedgerBalance]:
        """The committed balances of these accounts."""
        with self._guarded() as connection, connection.transaction():
            return {row[0]: LedgerBalance(*row) for row in connection.execute(READ_BALANCES, (array(account_ids),))}

    def contended(self, account_ids: Sequence[str]) -> set[str]:
        """Where the last conflict came from: accounts that are locked now, or were changed since its snapshot."""
        changed: set[str] = set()
        if self._snapshot is not None:
            with self._guarded() as connection, connection.transaction():
                changed = changed_since(connection, account_ids, self._snapshot)
        try:
            with self._guarded() as connection, connection.transaction():
                return changed | locked_now(connection, account_ids)
        except ConcurrencyConflict:
            return changed

    def count_conflicts(self, account_ids: Sequence[str], *, retries: int, exhausted: int) -> None:
        """Add to the conflict counts of these accounts."""
        with self._guarded() as connection, connection.transaction():
            add_conflicts(connection, account_ids, retries=retries, exhausted=exhausted)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _guarded(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection; a broken one is dropped, so that the next use makes a new one."""
        try:
            with translated():
                yield self._connected()
        except BooksUnavailable:
            self.close()
            raise

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            try:
                connection = connect(
                    self._database_url,
                    application_name=f"holdfast {self.process}",
                    patience_s=self.patience_s,
                    lock_timeout_ms=self.lock_timeout_ms,
                )
            except psycopg.Error as error:
                raise translate(error) from error
            connection.isolation_level = IsolationLevel.SERIALIZABLE
            self._connection = connection
        return self._connection
