"""The posting transaction: SERIALIZABLE, one batch, all or nothing; locks first, then writes."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.types.json import Json, Jsonb

from app.domain.entries import LedgerTransaction, canonical_json
from app.domain.faults import BooksUnavailable, ConcurrencyConflict, Fault
from app.domain.holds import Hold, HoldState
from app.domain.posting import ChainHead, Delta, Duplicate, KnownOutcome, LedgerBalance, PostingPlan, Rejection
from app.domain.refusals import RefusalCode
from app.ledger.database import connect, translate, translated
from app.ledger.holds import hold_of

_LOCK_HEADS = """
SELECT partition, chain_seq, chain_hash, last_position, last_posted_at, pg_current_snapshot()::text
FROM partition WHERE partition = ANY(%s::smallint[]) ORDER BY partition FOR UPDATE
"""
_TRY_TO_DRAIN = """
SELECT partition FROM unnest(%s::integer[]) AS partition WHERE pg_try_advisory_lock(%s, partition)
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
FROM account_balance WHERE account_id = ANY(%s)
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
_COPY_TRANSACTIONS = """
COPY ledger_transaction (partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint,
    actor, description, metadata, accepted_at, effective_at, posted_at, previous_hash, hash) FROM STDIN (FORMAT BINARY)
"""
_TRANSACTION_TYPES = ["int2", "int8", *["text"] * 8, "json", *["timestamptz"] * 3, "bytea", "bytea"]
_COPY_ENTRIES = """
COPY entry (account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor, currency_code, posted_at)
FROM STDIN (FORMAT BINARY)
"""
_ENTRY_TYPES = ["text", "int8", "int2", "int8", "int2", "int8", "int8", "text", "timestamptz"]
_INSERT_REJECTION = """
INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_DUPLICATE = """
INSERT INTO payment_duplicate (payment_id, original_payment_id) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_LOCK_HOLDS = """
SELECT payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs, state,
    expires_at, captured_minor, concluded_by, actor, description, effective_at, metadata, accepted_at, concluded_at
FROM hold WHERE payment_id = ANY(%s) ORDER BY payment_id FOR UPDATE
"""
_INSERT_HOLD = """
INSERT INTO hold (payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs,
    expires_at, actor, description, effective_at, metadata, accepted_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_CONCLUDE_HOLD = """
UPDATE hold SET state = %s, captured_minor = %s, concluded_by = %s, concluded_at = %s WHERE payment_id = %s
"""
_INSERT_HOLD_EVENT = """
INSERT INTO hold_event (payment_id, state, amount_minor, actor, intent_id) VALUES (%s, %s, %s, %s, %s)
"""
_ADVANCE_HEAD = """
UPDATE partition SET chain_seq = %s, chain_hash = %s, last_position = %s, last_posted_at = %s WHERE partition = %s
"""
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


def _array(values: Collection[str] | Collection[int]) -> str | list[Any]:
    """Values as the text of an array, at a tenth of the driver's cost; with a NUL, which no text has, the driver's."""
    joined = "\0".join(map(str, values))
    if joined.count("\0") != max(0, len(values) - 1):
        return list(values)
    if not values:
        return "{}"
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + escaped.replace("\0", '","') + '"}'


class BalanceMismatch(Fault):
    """The balances that the database returned differ from the plan; the batch is rolled back."""


class Posting:
    """One open posting transaction, holding the row locks of `heads`."""

    def __init__(self, connection: psycopg.Connection[Any], heads: dict[int, ChainHead]) -> None:
        self._connection = connection
        self.heads = heads

    def known_outcomes(self, keys: Sequence[tuple[str, str]]) -> tuple[dict[tuple[str, str], KnownOutcome], set[str]]:
        """What the books say of these (entity, external id) keys, and the payment ids already rejected under them."""
        parameters = {"entities": _array([key[0] for key in keys]), "externals": _array([key[1] for key in keys])}
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
        rows = self._connection.execute(_LOCK_BALANCES, (_array(account_ids),)).fetchall()
        locked = {row[0]: LedgerBalance(*row) for row in rows}
        missing = [account_id for account_id in account_ids if account_id not in locked]
        if not missing:
            return locked, set()
        contended = {row[0] for row in self._connection.execute(_READ_BALANCES, (missing,))}
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
            self._copy_transactions(plan.transactions)
            self._copy_entries(plan.transactions)
            self._record_holds(plan)
            self._advance_heads()
        self._record_rejections(plan.rejections)
        self._record_duplicates(plan.duplicates)

    def _add_to_balances(
        self, deltas: dict[str, Delta], planned: dict[str, LedgerBalance], posted_at: datetime
    ) -> None:
        parameters = (
            posted_at,
            _array(deltas),
            _array([delta.change_minor for delta in deltas.values()]),
            _array([delta.entries for delta in deltas.values()]),
            _array([delta.versions for delta in deltas.values()]),
        )
        rows = self._connection.execute(_ADD_TO_BALANCES, parameters).fetchall()
        written = {account_id: (balance, count) for account_id, balance, count in rows}
        for account_id in deltas:
            row = planned[account_id]
            if written.get(account_id) != (row.balance_minor, row.entry_count):
                raise BalanceMismatch(f"account {account_id!r}: {written.get(account_id)} written, {row} planned")

    def _copy_transactions(self, transactions: Sequence[LedgerTransaction]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(_COPY_TRANSACTIONS) as copy:
            copy.set_types(_TRANSACTION_TYPES)
            for t in transactions:
                copy.write_row(
                    (
                        t.partition,
                        t.chain_seq,
                        t.entity_id,
                        t.external_id,
                        t.kind,
                        t.payment_id,
                        t.relates_to,
                        t.fingerprint,
                        t.actor,
                        t.description,
                        None if t.metadata is None else Json(t.metadata, canonical_json),
                        t.accepted_at,
                        t.effective_at,
                        t.posted_at,
                        t.previous_hash,
                        t.hash,
                    )
                )

    def _copy_entries(self, transactions: Sequence[LedgerTransaction]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(_COPY_ENTRIES) as copy:
            copy.set_types(_ENTRY_TYPES)
            write = copy.write_row
            for t in transactions:
                for leg, e in enumerate(t.entries):
                    write(
                        (
                            e.account_id,
                            e.entry_number,
                            t.partition,
                            t.chain_seq,
                            leg,
                            e.amount_minor,
                            e.balance_minor,
                            e.currency_code,
                            t.posted_at,
                        )
                    )

    def _record_holds(self, plan: PostingPlan) -> None:
        authorized = [
            (
                hold.payment_id,
                hold.entity_id,
                hold.external_id,
                hold.fingerprint,
                hold.guarded_account_id,
                hold.hold_minor,
                hold.currency_code,
                Jsonb([[leg.account_id, leg.amount_minor] for leg in hold.legs]),
                hold.expires_at,
                hold.actor,
                hold.description,
                hold.effective_at,
                None if hold.metadata is None else Json(hold.metadata),
                hold.accepted_at,
            )
            for hold in plan.authorized
        ]
        concluded = [
            (hold.state, hold.captured_minor, hold.concluded_by, hold.concluded_at, hold.payment_id)
            for hold in plan.concluded
        ]
        events = [
            (hold.payment_id, HoldState.AUTHORIZED, hold.hold_minor, hold.actor, hold.payment_id)
            for hold in plan.authorized
        ]
        events += [
            (hold.payment_id, hold.state, hold.captured_minor or 0, hold.concluding_actor, hold.concluded_by or "")
            for hold in plan.concluded
        ]
        with self._connection.cursor() as cursor:
            for statement, rows in (
                (_INSERT_HOLD, authorized),
                (_CONCLUDE_HOLD, concluded),
                (_INSERT_HOLD_EVENT, events),
            ):
                if rows:
                    cursor.executemany(statement, rows)

    def _advance_heads(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _ADVANCE_HEAD,
                [
                    (head.chain_seq, head.chain_hash, head.last_position, head.last_posted_at, head.partition)
                    for head in self.heads.values()
                ],
            )

    def _record_rejections(self, rejections: Sequence[Rejection]) -> None:
        for rejection in rejections:
            intent, refusal = rejection.queued.intent, rejection.refusal
            self._connection.execute(
                _INSERT_REJECTION,
                (
                    rejection.queued.place.payment_id,
                    intent.entity_id,
                    intent.external_id,
                    intent.fingerprint,
                    refusal.code.value,
                    _keepable(refusal.detail),
                    Jsonb(_keepable(dict(refusal.figures))),
                    Jsonb(_keepable(intent_document(rejection))),
                ),
            )

    def _record_duplicates(self, duplicates: Sequence[Duplicate]) -> None:
        for duplicate in duplicates:
            self._connection.execute(
                _INSERT_DUPLICATE, (duplicate.queued.place.payment_id, duplicate.original_payment_id)
            )


def intent_document(rejection: Rejection) -> dict[str, Any]:
    """The refused intent as it is kept beside the reason."""
    intent = rejection.queued.intent
    return {
        "kind": intent.kind,
        "guarded_account_id": intent.guarded_account_id,
        "hold_minor": intent.hold_minor,
        "currency_code": intent.currency_code,
        "legs": [{"account_id": leg.account_id, "amount_minor": leg.amount_minor} for leg in intent.legs],
        "actor": intent.actor,
        "description": intent.description,
        "effective_at": intent.effective_at.isoformat() if intent.effective_at else None,
        "metadata": intent.metadata,
    }


def _keepable(value: Any) -> Any:
    """The same without NUL characters, which Postgres keeps neither as text nor as jsonb: a rejection must go in."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_keepable(key): _keepable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_keepable(item) for item in value]
    return value


class PostingBooks:
    """The books as a worker posts to them, over one connection of its own."""

    process = "drain"
    """What the server's list of sessions shows."""

    patience_s: float | None = None
    """How long an answer is waited for; a worker has nothing better to do."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection[Any] | None = None
        self._snapshot: str | None = None
        """What the last posting transaction could see, for finding what a conflict came from."""

    @contextmanager
    def draining(self, partitions: Sequence[int]) -> Iterator[list[int]]:
        """Keep other drains away from those of `partitions` that nobody is draining; yields these.

        An advisory lock and not the row lock of the posting transaction: it is taken before the transaction's
        snapshot, so two drains never abort each other, and it lasts until the batch is settled.
        """
        with self._guarded() as connection, connection.transaction():
            held = [row[0] for row in connection.execute(_TRY_TO_DRAIN, (list(partitions), _DRAIN_LOCK))]
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

    def balances(self, account_ids: Sequence[str]) -> dict[str, LedgerBalance]:
        """The committed balances of these accounts."""
        with self._guarded() as connection, connection.transaction():
            return {row[0]: LedgerBalance(*row) for row in connection.execute(_READ_BALANCES, (list(account_ids),))}

    def contended(self, account_ids: Sequence[str]) -> set[str]:
        """Where the last conflict came from: accounts that are locked now, or were changed since its snapshot."""
        wanted = list(account_ids)
        changed: set[str] = set()
        if self._snapshot is not None:
            with self._guarded() as connection, connection.transaction():
                changed = {row[0] for row in connection.execute(_CHANGED_SINCE, (wanted, self._snapshot))}
        try:
            with self._guarded() as connection, connection.transaction():
                return changed | (set(wanted) - {row[0] for row in connection.execute(_FREE, (wanted,))})
        except ConcurrencyConflict:
            return changed

    def count_conflicts(self, account_ids: Sequence[str], *, retries: int, exhausted: int) -> None:
        """Add to the conflict counts of these accounts."""
        parameters = {"accounts": list(account_ids), "retries": retries, "exhausted": exhausted}
        with self._guarded() as connection, connection.transaction():
            # Serializable, two drains that count the same hot account at once would abort each other.
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.execute(_COUNT_CONFLICTS, parameters)

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
                )
            except psycopg.Error as error:
                raise translate(error) from error
            connection.isolation_level = IsolationLevel.SERIALIZABLE
            self._connection = connection
        return self._connection
