"""The posting transaction: SERIALIZABLE, one batch, all or nothing; locks first, then writes."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel

from app.domain.entries import EntryRow, TransactionRow, rows_of
from app.domain.faults import BooksUnavailable, ConcurrencyConflict, Fault
from app.domain.holds import Hold
from app.domain.posting import ChainHead, Delta, Duplicate, KnownOutcome, LedgerBalance, PostingPlan, Rejection
from app.domain.refusals import RefusalCode
from app.domain.straight_through import StraightPlan
from app.ledger.arrays import array, bytes_array, numbers
from app.ledger.clock import BooksClock
from app.ledger.conflicts import add_conflicts, changed_since, locked_now
from app.ledger.copying import COPY_ENTRIES, COPY_TRANSACTIONS, copy_in, entries_copy, transactions_copy
from app.ledger.database import connect, translate, translated
from app.ledger.holds import hold_of
from app.ledger.recording import record_duplicates, record_holds, record_rejections
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

_LOCK_BALANCES = """
SELECT account_id, entity_id, currency_code, normal_sign, balance_minor, floor_minor, version, entry_count, updated_at
FROM account_balance WHERE account_id = ANY(%s::text[]) ORDER BY account_id FOR UPDATE SKIP LOCKED
"""
_READ_BALANCES = """
SELECT account_id, entity_id, currency_code, normal_sign, balance_minor, floor_minor, version, entry_count, updated_at
FROM account_balance WHERE account_id = ANY(%s::text[])
"""
_KNOWN_OUTCOMES = """
SELECT entity_id, external_id, payment_id, fingerprint, true AS posted, '' AS code
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN ledger_transaction USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, false, code
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN payment_rejection USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, true, ''
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN hold USING (entity_id, external_id)
"""
_OF_ANOTHER_PAYMENT = frozenset({RefusalCode.EXTERNAL_ID_REUSED, RefusalCode.EXTERNAL_ID_REFUSED})
"""Rejections that say nothing of the external id's first payment, which may still be on its way."""

_ADD_TO_BALANCES = """
UPDATE account_balance AS b
SET balance_minor = b.balance_minor + d.delta, entry_count = b.entry_count + d.entries,
    version = b.version + d.versions, updated_at = %s
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) AS d (account_id, delta, entries, versions)
WHERE b.account_id = d.account_id
RETURNING b.account_id, b.balance_minor, b.entry_count
"""
_LOCK_HOLDS = """
SELECT payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs, state,
    expires_at, captured_minor, concluded_by, actor, description, effective_at, metadata, accepted_at, concluded_at
FROM hold WHERE payment_id = ANY(%s) ORDER BY payment_id FOR UPDATE
"""
_ADVANCE_HEADS = """
UPDATE partition AS p
SET chain_seq = h.chain_seq, chain_hash = h.chain_hash, last_position = h.last_position,
    last_posted_at = h.last_posted_at
FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[], %s::text[], %s::timestamptz[])
    AS h (partition, chain_seq, chain_hash, last_position, last_posted_at)
WHERE p.partition = h.partition
"""


class BalanceMismatch(Fault):
    """The balances that the database returned differ from the plan; the batch is rolled back."""


class Posting:
    """One open posting transaction, holding the row locks of `heads`."""

    def __init__(self, connection: psycopg.Connection[Any], heads: dict[int, ChainHead]) -> None:
        self._connection = connection
        self.heads = heads

    def known_outcomes(self, keys: Sequence[tuple[str, str]]) -> tuple[dict[tuple[str, str], KnownOutcome], set[str]]:
        """What the books say of these (entity, external id) keys, and the payment ids already rejected under them."""
        parameters = {"entities": array([key[0] for key in keys]), "externals": array([key[1] for key in keys])}
        known: dict[tuple[str, str], KnownOutcome] = {}
        rejected: set[str] = set()
        for entity_id, external_id, payment_id, fingerprint, posted, code in self._connection.execute(
            _KNOWN_OUTCOMES, parameters
        ):
            if posted:
                known[entity_id, external_id] = KnownOutcome(payment_id, fingerprint, posted=True)
            else:
                rejected.add(payment_id)
                if code in _OF_ANOTHER_PAYMENT:
                    continue
                known.setdefault((entity_id, external_id), KnownOutcome(payment_id, fingerprint, posted=False))
        return known, rejected

    def lock_balances(self, account_ids: Sequence[str]) -> tuple[dict[str, LedgerBalance], set[str]]:
        """Lock these accounts in order; and name those that somebody else has locked just now."""
        rows = self._connection.execute(_LOCK_BALANCES, (array(account_ids),)).fetchall()
        locked = {row[0]: LedgerBalance(*row) for row in rows}
        missing = [account_id for account_id in account_ids if account_id not in locked]
        if not missing:
            return locked, set()
        contended = {row[0] for row in self._connection.execute(_READ_BALANCES, (array(missing),))}
        return locked, contended

    def lock_holds(self, payment_ids: Sequence[str]) -> dict[str, Hold]:
        """Lock these authorizations; those that are not in the books are left out."""
        if not payment_ids:
            return {}
        rows = self._connection.execute(_LOCK_HOLDS, (list(payment_ids),))
        return {row[0]: hold_of(row) for row in rows}

    def posting_time(self, balances: dict[str, LedgerBalance]) -> datetime:
        """The database's time, after the locks, and never before what the locked rows have seen."""
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        latest = [head.last_posted_at for head in self.heads.values()]
        latest += [balance.updated_at for balance in balances.values()]
        moment: datetime = max(row[0], *latest)
        return moment

    def write(self, plan: PostingPlan, planned: dict[str, LedgerBalance], posted_at: datetime) -> None:
        """Write the plan; `planned` is what each balance must be afterwards."""
        if plan.deltas:
            self._add_to_balances(plan.deltas, planned, posted_at)
            transactions, entries = rows_of(plan.transactions)
            self._copy_transactions(transactions)
            self._copy_entries(entries)
            record_holds(self._connection, plan)
            self._advance_heads()
        self._record_rejections(plan.rejections)
        self._record_duplicates(plan.duplicates)

    def _add_to_balances(
        self, deltas: dict[str, Delta], planned: dict[str, LedgerBalance], posted_at: datetime
    ) -> None:
        parameters = (
            posted_at,
            array(deltas),
            numbers([delta.change_minor for delta in deltas.values()]),
            numbers([delta.entries for delta in deltas.values()]),
            numbers([delta.versions for delta in deltas.values()]),
        )
        rows = self._connection.execute(_ADD_TO_BALANCES, parameters).fetchall()
        written = {account_id: (balance, count) for account_id, balance, count in rows}
        for account_id in deltas:
            row = planned[account_id]
            if written.get(account_id) != (row.balance_minor, row.entry_count):
                raise BalanceMismatch(f"account {account_id!r}: {written.get(account_id)} written, {row} planned")

    def _copy_transactions(self, rows: Sequence[TransactionRow]) -> None:
        copy_in(self._connection, COPY_TRANSACTIONS, transactions_copy(rows))

    def _copy_entries(self, rows: Sequence[EntryRow]) -> None:
        copy_in(self._connection, COPY_ENTRIES, entries_copy(rows))

    def _advance_heads(self) -> None:
        heads = self.heads.values()
        parameters = (
            numbers([head.partition for head in heads]),
            numbers([head.chain_seq for head in heads]),
            bytes_array([head.chain_hash for head in heads]),
            array([head.last_position for head in heads]),
            [head.last_posted_at for head in heads],
        )
        self._connection.execute(_ADVANCE_HEADS, parameters)

    def _record_rejections(self, rejections: Sequence[Rejection]) -> None:
        record_rejections(self._connection, rejections)

    def _record_duplicates(self, duplicates: Sequence[Duplicate]) -> None:
        record_duplicates(self._connection, duplicates)


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
            return {row[0]: LedgerBalance(*row) for row in connection.execute(_READ_BALANCES, (array(account_ids),))}

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
