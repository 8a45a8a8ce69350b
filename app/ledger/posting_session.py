"""The ledger as a drain posts to it: a SERIALIZABLE transaction for each batch, one drain at a time a partition."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import IsolationLevel

from app.domain.ledger_rows import ChainHead, LedgerBalance, PostingPlan
from app.domain.spans import batch_span
from app.ledger.conflicts import Conflicts
from app.ledger.connections import (
    POSTING_IDLE_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    LedgerConnection,
    SessionLimits,
    connect,
)
from app.ledger.copy_format import array
from app.ledger.locked_posting import READ_BALANCES, Posting
from app.ledger.metrics import BATCH_PAYMENTS, LOCKED_SECONDS, OPTIMISTIC_SECONDS
from app.ledger.optimistic_posting import PackedPlan, pack, write_if_unchanged
from app.ledger.snapshots import lock_tables

LOCK_TIMEOUT_MS = 20
"""How long a drain waits for a row. Its holder will nearly always change it, and then this posting must start
again anyway. So a drain passes over what is locked, and posts the rest."""

NO_LIMIT = 0.0


class LedgerClock:
    """Reckons the database's time from what the database has said, by this process's monotonic clock.

    An answer arrives after it was given, so the reckoned time is never ahead of the database's. It is late by no more
    than the quickest answer took. If somebody sets the database's clock, the next `set` notices.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: datetime | None = None

    def set(self, said: datetime) -> None:
        """Start again from what the database has just said."""
        self._began = self._beginning(said)

    def hear(self, said: datetime) -> None:
        """Believe what the database has just said if the answer was quicker than all before it."""
        beginning = self._beginning(said)
        self._began = beginning if self._began is None else max(self._began, beginning)

    def now(self) -> datetime:
        """The database's time; `set` must have been called."""
        assert self._began is not None
        return self._began + timedelta(seconds=self._monotonic())

    def _beginning(self, said: datetime) -> datetime:
        """What the database's clock showed when the monotonic clock was at zero."""
        return said - timedelta(seconds=self._monotonic())


_LOCK_HEADS = """
SELECT partition, chain_seq, chain_hash, last_position, last_posted_at, pg_current_snapshot()::text
FROM partition WHERE partition = ANY(%s::smallint[]) ORDER BY partition FOR UPDATE
"""


@contextmanager
def open_posting(ledger: LedgerConnection, conflicts: Conflicts, partitions: Sequence[int]) -> Iterator[Posting]:
    """A transaction that has locked the heads of these partitions."""
    with ledger.transaction() as connection:
        conflicts.snapshot = None
        lock_tables(connection)
        rows = connection.execute(_LOCK_HEADS, (list(partitions),)).fetchall()
        conflicts.snapshot = rows[0][-1]
        yield Posting(connection, {row[0]: ChainHead(*row[:-1]) for row in rows})


_TRY_TO_DRAIN = """
SELECT partition, clock_timestamp(), set_config('idle_session_timeout', %s, false)
FROM unnest(%s::integer[]) AS partition WHERE pg_try_advisory_lock(%s, partition)
"""
# Only a session that holds locks is ended for its silence.
_STOP_DRAINING = """
SELECT pg_advisory_unlock(%s, partition), set_config('idle_session_timeout', %s, false)
FROM unnest(%s::integer[]) AS partition
"""
_WAIT_FOR_DRAINS = "SELECT pg_advisory_lock(%s, partition) FROM unnest(%s::integer[]) AS partition"
_DRAIN_LOCK = 477_017
"""The locks' class, any number of our own. A lock ends with its session, so a killed drain holds none."""


@contextmanager
def keep_drains_away(ledger: LedgerConnection, partitions: Sequence[int], patience_s: float) -> Iterator[None]:
    """Wait until nobody drains these partitions, and keep the drains away; ConcurrencyConflict if that takes too long.

    Only one caller at a time may do so. A drain only tries to lock, so there is no circle of waiting.
    """
    try:
        with patient_transaction(ledger, patience_s) as connection:
            connection.execute(_WAIT_FOR_DRAINS, (_DRAIN_LOCK, list(partitions)))
        yield
    finally:
        _stop_draining(ledger, partitions, POSTING_IDLE_S)


@contextmanager
def patient_transaction(ledger: LedgerConnection, patience_s: float) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that may wait some seconds for each lock."""
    with ledger.transaction() as connection:
        # Serializable, a long wait would make the database remember all that others do meanwhile.
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{patience_s:.0f}s",))
        yield connection


def _stop_draining(ledger: LedgerConnection, partitions: Sequence[int], idle_session_s: float) -> None:
    """Let other drains in; from now on the session may be silent for `idle_session_s`."""
    if ledger.is_open:
        ledger.rows(_STOP_DRAINING, (_DRAIN_LOCK, _milliseconds(idle_session_s), list(partitions)))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


class PostingSession:
    """The ledger as a drain posts to it, over one connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._ledger = LedgerConnection(
            partial(
                connect,
                database_url,
                application_name="holdfast drain",
                limits=SessionLimits(lock_timeout_ms=LOCK_TIMEOUT_MS, idle_in_transaction_s=POSTING_IDLE_S),
                patience_s=STATEMENT_TIMEOUT_S + SILENCE_S,
                isolation_level=IsolationLevel.SERIALIZABLE,
                prepares=True,
            )
        )
        self._clock = LedgerClock()
        self.conflicts = Conflicts(self._ledger)

    @contextmanager
    def draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        """Keep other drains away from those of `partitions` that nobody drains; yields these.

        It takes advisory locks, and not the row locks of the posting transaction. They are taken before the
        transaction's snapshot, so two drains never abort each other, and they last until the batch is settled.
        """
        self._ledger.close_if_lost()
        rows = self._ledger.rows(_TRY_TO_DRAIN, (_milliseconds(POSTING_IDLE_S), list(partitions), _DRAIN_LOCK))
        held = [row[0] for row in rows]
        if held:
            self._clock.set(rows[-1][1])
        try:
            yield held
        finally:
            if held:
                _stop_draining(self._ledger, held, NO_LIMIT)

    def now(self) -> datetime:
        """The database's time, reckoned without asking; known while draining."""
        return self._clock.now()

    def balances(self, account_ids: Collection[str]) -> dict[str, LedgerBalance]:
        """The committed balances of these accounts."""
        return {row[0]: LedgerBalance(*row) for row in self._ledger.rows(READ_BALANCES, (array(account_ids),))}

    @contextmanager
    def posting(self, partitions: Sequence[int]) -> Iterator[Posting]:
        """A locked posting: a SERIALIZABLE transaction that has locked the heads of these partitions."""
        with LOCKED_SECONDS.time(), open_posting(self._ledger, self.conflicts, partitions) as posting:
            yield posting

    def pack(self, plan: PostingPlan) -> PackedPlan:
        """A plan made on remembered rows, ready for `post`. It needs no connection."""
        return pack(plan)

    def post(self, plan: PackedPlan) -> None:
        """Write and commit a plan made on remembered rows.

        Nothing is written if it raises: RowsChanged if a row is not as remembered; ConcurrencyConflict if one is locked
        or changes meanwhile, or something is posted already; LedgerConstraintViolated if a constraint rejects it.
        """
        BATCH_PAYMENTS.observe(plan.payments)
        with OPTIMISTIC_SECONDS.time(), batch_span("post", plan.origins), self._ledger.use() as connection:
            try:
                lock_tables(connection)
                self._clock.hear(write_if_unchanged(connection, plan))
                connection.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    connection.rollback()
                raise

    def close(self) -> None:
        """Give the connection back."""
        self._ledger.close()
