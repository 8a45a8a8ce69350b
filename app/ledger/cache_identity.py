"""What the ledger remembers of the cache, and the breaks that name what a replaced cache has lost."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from app.domain.break_workflow import BreakState, ReasonCode
from app.domain.breaks import Break, BreakKind
from app.domain.cache_identity import (
    FoundPartition,
    RememberedCache,
    RememberedPartition,
    with_payments,
    without_payments,
)
from app.domain.errors import CacheUnavailable, ConcurrencyConflict, Misconfigured
from app.domain.found_breaks import inside_break
from app.domain.payment import stream_id_order
from app.ledger.break_records import open_break, settle_break
from app.ledger.connections import LedgerConnection, SessionLimits, connect
from app.ledger.reconciliation import settled_payments

PATIENCE_S = 2.0
"""How long one process waits for another that opens the cache. A request that waits longer is told to come again."""

_OPENING_LOCK = 477_022
"""The number of the advisory lock that a process holds while it opens the cache. The lock ends with its session."""

_REMEMBERED = """
SELECT p.partition, p.last_position, i.identity, i.opened_at IS NOT NULL, i.last_ms, i.last_sequence, i.entries_added,
    i.pending, i.beat, i.generation, i.server, i.seen_at, clock_timestamp(), version.value
FROM ledger_setting version
JOIN ledger_setting size ON size.name = 'partitions'
JOIN partition p ON p.partition < size.value
LEFT JOIN cache_identity i USING (partition)
WHERE version.name = 'directory_version' ORDER BY p.partition
"""
_BEGIN_OPENING = """
INSERT INTO cache_identity (partition, identity, generation)
SELECT partition, %s, %s FROM unnest(%s::smallint[]) AS partition
ON CONFLICT (partition) DO UPDATE SET identity = excluded.identity, generation = excluded.generation,
    opened_at = NULL, entries_added = 0, pending = 0, beat = 0
"""
_FINISH_OPENING = """
UPDATE cache_identity SET opened_at = clock_timestamp() WHERE identity = %s AND opened_at IS NULL
"""
# A look at a cache that has been replaced meanwhile changes nothing.
_NOTE = """
UPDATE cache_identity AS i SET last_ms = f.last_ms, last_sequence = f.last_sequence, entries_added = f.entries_added,
    pending = f.pending, beat = f.beat, server = %(server)s, seen_at = clock_timestamp()
FROM unnest(%(partitions)s::smallint[], %(identities)s::text[], %(ms)s::bigint[], %(sequences)s::bigint[],
    %(added)s::bigint[], %(pending)s::bigint[], %(beats)s::bigint[])
    AS f (partition, identity, last_ms, last_sequence, entries_added, pending, beat)
WHERE i.partition = f.partition AND i.identity = f.identity
    AND (f.last_ms, f.last_sequence) >= (i.last_ms, i.last_sequence) AND f.entries_added >= i.entries_added
    AND f.beat > i.beat
"""
_BEGIN_RUN = """
INSERT INTO reconciliation_run (mode, finished_at, checked, break_count)
VALUES ('identity', clock_timestamp(), '{}', 1) RETURNING run_id
"""
_FIND_BREAK = """
SELECT break_id, figures FROM reconciliation_break
WHERE kind = %s AND subject = %s AND state IN ('open', 'investigating') FOR UPDATE
"""
_CHANGE_FIGURES = "UPDATE reconciliation_break SET figures = %s, last_seen_at = clock_timestamp() WHERE break_id = %s"
_OPEN = """
SELECT subject, figures FROM reconciliation_break
WHERE kind = %s AND state IN ('open', 'investigating') ORDER BY break_id
"""
_MISSING = "payments that were acknowledged are missing in the cache and in the ledger"
WATCH = "cache identity"
"""The actor of these breaks."""


class LedgerCacheIdentity:
    """The memory of the cache, over a connection of its own. Not for several threads at once."""

    def __init__(self, database_url: str) -> None:
        self._ledger = LedgerConnection(
            partial(
                connect,
                database_url,
                application_name="holdfast cache identity",
                limits=SessionLimits(lock_timeout_ms=int(PATIENCE_S * 1000)),
            ),
            checks_idle=True,
        )

    def close(self) -> None:
        """Give the connection back."""
        self._ledger.close()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Be the only one who opens the cache; CacheUnavailable if another process takes too long over it."""
        try:
            self._ledger.rows("SELECT pg_advisory_lock(%s)", (_OPENING_LOCK,))
        except ConcurrencyConflict as conflict:
            raise CacheUnavailable("the cache is closed: it is being opened again from the ledger") from conflict
        try:
            yield
        finally:
            if self._ledger.is_open:
                self._ledger.rows("SELECT pg_advisory_unlock(%s)", (_OPENING_LOCK,))

    def remembered(self) -> RememberedCache:
        """All that is remembered, from one snapshot; Misconfigured if the schema is not up to date."""
        try:
            rows = self._ledger.rows(_REMEMBERED)
        except errors.UndefinedTable as error:
            raise Misconfigured("the schema is not up to date; run `python3 -m app migrate`") from error
        seen = [row for row in rows if row[2] is not None]
        return RememberedCache(
            {row[0]: _remembered_partition(*row[1:9]) for row in rows},
            directory_version=rows[0][-1],
            clock=rows[0][-2],
            generation=max((row[9] for row in seen), default=0),
            server=seen[0][10] if seen else "",
            seen_at=max((row[11] for row in seen), default=None),
        )

    def begin_opening(
        self, identity: str, generation: int, partitions: Collection[int], figures: Mapping[str, Any] | None
    ) -> None:
        """Record that partitions were closed under an identity, and the break of what was lost, if anything was."""
        with self._ledger.transaction() as connection:
            connection.execute(_BEGIN_OPENING, (identity, generation, list(partitions)))
            if figures is not None:
                _add_break(connection, generation, figures)

    def finish_opening(self, identity: str) -> None:
        """Record that the partitions closed under an identity are open."""
        with self._ledger.transaction() as connection:
            connection.execute(_FINISH_OPENING, (identity,))

    def note(self, found: Mapping[int, FoundPartition], beats: Sequence[int], server: str) -> None:
        """Remember a look at partitions, and the beats that they were given after it, in the same order."""
        orders = [stream_id_order(one.last_stream_id) if one.last_stream_id else (-1, -1) for one in found.values()]
        parameters = {
            "server": server,
            "partitions": list(found),
            "identities": [one.identity for one in found.values()],
            "ms": [order[0] for order in orders],
            "sequences": [order[1] for order in orders],
            "added": [one.entries_added for one in found.values()],
            "pending": [one.pending for one in found.values()],
            "beats": list(beats),
        }
        with self._ledger.transaction() as connection:
            connection.execute(_NOTE, parameters)

    def settled(self, payment_ids: Collection[str]) -> set[str]:
        """Which of these payments the ledger has answered."""
        return settled_payments(self._ledger, payment_ids) if payment_ids else set()

    def name_lost(self, generation: int, payments: Mapping[str, str], clock: datetime) -> None:
        """Name acknowledged payments as lost when the cache was opened as this generation.

        Each has the authorization that it was to end, or an empty text. `clock` is the ledger's, about now.
        """
        self._change(generation, lambda figures: with_payments(figures, payments, clock))

    def unname(self, generation: int, payment_ids: Collection[str]) -> None:
        """Take back that payments are lost: a drain that had read them before has posted them since."""
        self._change(generation, lambda figures: without_payments(figures, payment_ids))

    def _change(self, generation: int, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        with self._ledger.transaction() as connection:
            row = connection.execute(_FIND_BREAK, (BreakKind.CACHE_LOST, _subject(generation))).fetchone()
            if row is None:
                figures = {"reason": _MISSING, "lost_payments": 0, "payment_ids": [], "ended_authorizations": {}}
                _add_break(connection, generation, change(figures))
            else:
                connection.execute(_CHANGE_FIGURES, (Jsonb(change(row[1])), row[0]))

    def open_losses(self) -> list[Break]:
        """The losses that nobody has accepted yet."""
        return [Break(BreakKind.CACHE_LOST, *row) for row in self._ledger.rows(_OPEN, (BreakKind.CACHE_LOST,))]

    def accept_losses(self, actor: str, reason: str) -> list[str]:
        """Accept all losses that are on record as open; returns their subjects."""
        with self._ledger.transaction() as connection:
            return settle_break(
                connection.execute,
                BreakKind.CACHE_LOST,
                None,
                actor,
                reason,
                reason_code=ReasonCode.LOSS_ACCEPTED,
                state=BreakState.ACCEPTED,
                owner=actor,
            )


def _add_break(connection: psycopg.Connection[Any], generation: int, figures: Mapping[str, Any]) -> None:
    [(run_id,)] = connection.execute(_BEGIN_RUN).fetchall()
    found = inside_break(Break(BreakKind.CACHE_LOST, _subject(generation), dict(figures)))
    open_break(connection.execute, found, WATCH, f"found by run {run_id}", run_id=run_id)


def _subject(generation: int) -> str:
    """A loss by the generation that followed it."""
    return f"generation/{generation}"


def _remembered_partition(
    last_posted: str, identity: str | None, is_open: bool, ms: int, sequence: int, *counts: int
) -> RememberedPartition:
    if identity is None:
        return RememberedPartition(last_posted)
    return RememberedPartition(last_posted, identity, is_open, f"{ms}-{sequence}" if ms >= 0 else "", *counts)
