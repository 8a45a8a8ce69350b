"""The ledger as a worker posts to it: SERIALIZABLE, one batch, all or nothing, one drain a partition."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import IsolationLevel

from app.domain.errors import ConcurrencyConflict, LedgerUnavailable
from app.domain.ledger_rows import ChainHead, LedgerBalance
from app.domain.optimistic_plan import OptimisticPlan
from app.ledger.connections import connect, translate, translated
from app.ledger.copy_format import array
from app.ledger.optimistic_posting import PackedPlan, packed, post_optimistically
from app.ledger.posting import READ_BALANCES, Posting


class LedgerClock:
    """Reckons the database's time from what it has said, by this process's monotonic clock.

    An answer is heard after it was given, so the reckoned time is never ahead of the database's, and behind it by no
    more than the quickest answer took. Setting the database's clock is noticed by the next `set`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: datetime | None = None

    def set(self, said: datetime) -> None:
        """Begin anew from what the database has just said."""
        self._began = self._beginning(said)

    def hear(self, said: datetime) -> None:
        """Believe what the database has just said, if it came more quickly than what was said before."""
        beginning = self._beginning(said)
        self._began = beginning if self._began is None else max(self._began, beginning)

    def now(self) -> datetime:
        """The database's time; `set` must have been called."""
        assert self._began is not None
        return self._began + timedelta(seconds=self._monotonic())

    def _beginning(self, said: datetime) -> datetime:
        """What the database's clock showed when the monotonic one was at zero."""
        return said - timedelta(seconds=self._monotonic())


_CHANGED_SINCE = """
SELECT account_id FROM account_balance
WHERE account_id = ANY(%s) AND NOT pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot)
"""
_FREE = "SELECT account_id FROM account_balance WHERE account_id = ANY(%s) FOR UPDATE SKIP LOCKED"
_COUNT_CONFLICTS = """
INSERT INTO conflict_count AS c (account_id, retries, exhausted)
SELECT account_id, %(retries)s, %(exhausted)s FROM unnest(%(accounts)s::text[]) AS account_id ORDER BY account_id
ON CONFLICT (account_id) DO UPDATE
SET retries = c.retries + excluded.retries, exhausted = c.exhausted + excluded.exhausted, last_at = clock_timestamp()
"""


def changed_since(connection: psycopg.Connection[Any], account_ids: Sequence[str], snapshot: str) -> set[str]:
    """Those of these accounts that a transaction has changed which the snapshot did not see."""
    return {row[0] for row in connection.execute(_CHANGED_SINCE, (list(account_ids), snapshot))}


def locked_now(connection: psycopg.Connection[Any], account_ids: Sequence[str]) -> set[str]:
    """Those of these accounts that somebody else has locked."""
    free = {row[0] for row in connection.execute(_FREE, (list(account_ids),))}
    return set(account_ids) - free


def add_conflicts(
    connection: psycopg.Connection[Any], account_ids: Sequence[str], *, retries: int, exhausted: int
) -> None:
    """Add to the conflict counts of these accounts, in the open transaction, which has not begun to read."""
    # Serializable, two drains that count the same hot account at once would abort each other.
    connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.execute("SET LOCAL lock_timeout = 0")
    parameters = {"accounts": list(account_ids), "retries": retries, "exhausted": exhausted}
    connection.execute(_COUNT_CONFLICTS, parameters)


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


class PostingSession:
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
        self._clock = LedgerClock()
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

    def pack(self, plan: OptimisticPlan) -> PackedPlan:
        """A plan made on remembered rows, ready for `post`; needs no connection."""
        return packed(plan)

    def post(self, plan: PackedPlan) -> None:
        """Write and commit a plan made on remembered rows.

        Raises RowsChanged where they were not as remembered, ConcurrencyConflict where a row is locked, changes
        meanwhile, or something is posted already, LedgerConstraintViolated as ever. Nothing is written then.
        """
        with self._guarded() as connection:
            try:
                self._clock.hear(post_optimistically(connection, plan))
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
        except LedgerUnavailable:
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
