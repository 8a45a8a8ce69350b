"""The hash chains as the ledger keeps them, for chain verification."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from app.domain.breaks import Break, BreakKind, ChainRange, Head, RecomputedRange
from app.domain.hash_chain import GENESIS_HASH, Entry, LedgerTransaction
from app.ledger.connections import PROOF_IDLE_S, LedgerConnection, SessionLimits, connect

STREAM_ROWS = 5_000
"""Rows that a streaming read fetches at once: memory does not grow with the ledger."""

_RANGES = """
WITH RECURSIVE written (partition) AS (
    SELECT min(partition) FROM ledger_transaction
    UNION ALL
    SELECT (SELECT min(t.partition) FROM ledger_transaction t WHERE t.partition > w.partition) FROM written w
    WHERE w.partition IS NOT NULL
), known AS (
    SELECT partition FROM written WHERE partition IS NOT NULL UNION SELECT partition FROM partition
)
SELECT k.partition, coalesce(first.chain_seq, 1), coalesce(last.chain_seq, 0), coalesce(last.hash, %(genesis)s),
    p.chain_seq, p.chain_hash, coalesce(c.chain_seq, 0)
FROM known k LEFT JOIN partition p USING (partition) LEFT JOIN reconciliation_cursor c USING (partition)
LEFT JOIN LATERAL (SELECT chain_seq FROM ledger_transaction t WHERE t.partition = k.partition
    ORDER BY chain_seq LIMIT 1) first ON true
LEFT JOIN LATERAL (SELECT chain_seq, hash FROM ledger_transaction t WHERE t.partition = k.partition
    ORDER BY chain_seq DESC LIMIT 1) last ON true
ORDER BY k.partition
"""
_CHAIN = """
SELECT partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint, actor, description,
    metadata, accepted_at, effective_at, posted_at, previous_hash, hash
FROM ledger_transaction WHERE partition = %s AND chain_seq > %s AND chain_seq <= %s ORDER BY chain_seq
"""
_CHAIN_ENTRIES = """
SELECT chain_seq, account_id, entry_number, amount_minor, balance_minor, currency_code
FROM entry WHERE partition = %s AND chain_seq > %s AND chain_seq <= %s ORDER BY chain_seq, leg
"""
_RECOMPUTED = """
SELECT count(*), coalesce(sum(entries), 0), string_agg(hash, '') FILTER (WHERE chain_seq = %(up_to)s),
    count(*) FILTER (WHERE previous_hash = expected_hash
        AND hash = pg_catalog.sha256(previous_hash || convert_to(canonical, 'UTF8')))
FROM (
    SELECT t.chain_seq, t.previous_hash, t.hash, coalesce(legs.number, 0) AS entries,
        lag(t.hash, 1, %(previous_hash)s::bytea) OVER (ORDER BY t.chain_seq) AS expected_hash,
        concat('[', concat_ws(',', t.partition, t.chain_seq, to_json(t.entity_id), to_json(t.external_id),
            to_json(t.kind), to_json(t.payment_id), coalesce(to_json(t.relates_to)::text, 'null'),
            to_json(t.fingerprint), to_json(t.actor), coalesce(to_json(t.description)::text, 'null'),
            coalesce(t.metadata::text, 'null'),
            (extract(epoch FROM t.accepted_at) * 1000000)::bigint,
            (extract(epoch FROM t.effective_at) * 1000000)::bigint,
            (extract(epoch FROM t.posted_at) * 1000000)::bigint), ',[', legs.canonical, ']]') AS canonical
    FROM ledger_transaction t LEFT JOIN (
        SELECT chain_seq, count(*) AS number, string_agg(concat('[', concat_ws(',', to_json(account_id), entry_number,
            amount_minor, balance_minor, to_json(currency_code)), ']'), ',' ORDER BY leg) AS canonical
        FROM entry WHERE partition = %(partition)s AND chain_seq > %(after)s AND chain_seq <= %(up_to)s
        GROUP BY chain_seq) legs USING (chain_seq)
    WHERE t.partition = %(partition)s AND t.chain_seq > %(after)s AND t.chain_seq <= %(up_to)s) linked
"""
_UNTIMELY = """
SELECT chain_seq, posted_at, posted_before FROM (
    SELECT chain_seq, posted_at, lag(posted_at) OVER (ORDER BY chain_seq) AS posted_before FROM ledger_transaction
    WHERE partition = %(partition)s AND chain_seq >= %(after)s AND chain_seq <= %(up_to)s) dated
WHERE chain_seq > %(after)s
    AND (posted_at < posted_before OR posted_at > clock_timestamp() + make_interval(secs => %(ahead_s)s))
"""
_STRAY_HEADS = """
SELECT h.partition, h.chain_seq, h.chain_hash, t.hash FROM {heads} h
LEFT JOIN ledger_transaction t USING (partition, chain_seq) WHERE t.hash IS DISTINCT FROM h.chain_hash
ORDER BY h.partition, h.chain_seq
"""
_ALL_EXPORTS = "chain_head_export"
_LAST_EXPORTS = """(SELECT e.* FROM partition p CROSS JOIN LATERAL (SELECT * FROM chain_head_export x
    WHERE x.partition = p.partition ORDER BY x.chain_seq DESC LIMIT 1) e)"""
_OUTSIDE_HEADS = "unnest(%s::smallint[], %s::bigint[], %s::bytea[]) AS"

CLOCK_AHEAD_S = 3600
"""A clock that was set back may leave transactions dated a little in the future; an hour is no adjustment."""


class LedgerChains:
    """Reads the chains, over one connection without a statement timeout. Only streaming transactions last long."""

    def __init__(self, database_url: str) -> None:
        self._ledger = LedgerConnection(
            partial(
                connect,
                database_url,
                application_name="holdfast proof",
                limits=SessionLimits(statement_timeout_s=0, idle_in_transaction_s=PROOF_IDLE_S),
            )
        )

    def close(self) -> None:
        """Give the connection back."""
        self._ledger.close()

    def ranges(self, *, full: bool) -> list[ChainRange]:
        """What each chain has since the last incremental run, or since its beginning; read from the rows themselves.

        Chains are found by their rows too, so neither a head nor a cursor nor a missing partition hides any. A cursor
        beyond the end proves nothing: its chain begins at the beginning.
        """
        found = []
        for partition, first, last, last_hash, head_seq, head_hash, cursor in self._ledger.rows(
            _RANGES, {"genesis": GENESIS_HASH}
        ):
            after = min(first - 1, 0) if full or cursor > last else cursor
            head = None if head_seq is None else (head_seq, bytes(head_hash))
            found.append(ChainRange(partition, after, last, bytes(last_hash), head, cursor))
        return found

    def is_begun(self) -> bool:
        """Whether there is any ledger transaction at all."""
        return bool(self._ledger.rows("SELECT EXISTS (SELECT FROM ledger_transaction)", ())[0][0])

    def time_breaks(self, part: ChainRange) -> Iterator[Break]:
        """Transactions of a range that are dated before their predecessor, or in the future."""
        bounds = {"partition": part.partition, "after": part.after, "up_to": part.up_to, "ahead_s": CLOCK_AHEAD_S}
        for chain_seq, posted_at, posted_before in self._ledger.rows(_UNTIMELY, bounds):
            figures = {
                "posted_at": posted_at.isoformat(),
                "posted_before": posted_before.isoformat() if posted_before else None,
            }
            yield Break(BreakKind.CHAIN_TIME, f"{part.partition}/{chain_seq}", figures)

    def recomputed(self, part: ChainRange, previous_hash: bytes | None) -> RecomputedRange:
        """What the database finds in a range that follows on `previous_hash`, by its own sha256.

        The query writes the canonical form of `app/domain/hash_chain.py` in SQL. A row is in order if its hash is that
        of its form and it names its predecessor's hash. If the two forms ever differ, a good row is not in order, and
        the caller looks at the range again in Python; a changed row is never missed.
        """
        bounds = {"partition": part.partition, "after": part.after, "up_to": part.up_to}
        with self._ledger.transaction() as connection:
            # A ledger that grows fast outruns its statistics: a planner that expects one row would join all with all.
            connection.execute("SET LOCAL enable_nestloop = off")
            [row] = connection.execute(_RECOMPUTED, bounds | {"previous_hash": previous_hash}).fetchall()
        transactions, entries, last_hash, in_order = row
        return RecomputedRange(transactions, int(entries), last_hash, in_order)

    def chain(self, part: ChainRange) -> Iterator[LedgerTransaction]:
        """The transactions of a range in order, with their entries, streamed."""
        bounds = (part.partition, part.after, part.up_to)
        with (
            self._ledger.transaction() as connection,
            _stream(connection, "chain", _CHAIN, bounds) as transactions,
            _stream(connection, "chain_entries", _CHAIN_ENTRIES, bounds) as entries,
        ):
            line = next(entries, None)
            for row in transactions:
                transaction = _transaction(row)
                while line is not None and line[0] < transaction.chain_seq:
                    line = next(entries, None)
                while line is not None and line[0] == transaction.chain_seq:
                    transaction.entries.append(Entry(*line[1:]))
                    line = next(entries, None)
                yield transaction

    def chain_hash_at(self, partition: int, chain_seq: int) -> bytes | None:
        """The hash of one transaction of a chain; None if there is no such transaction."""
        query = "SELECT hash FROM ledger_transaction WHERE partition = %s AND chain_seq = %s"
        row = next(iter(self._ledger.rows(query, (partition, chain_seq))), None)
        return None if row is None else bytes(row[0])

    def exported_head_breaks(self, *, full: bool) -> Iterator[Break]:
        """Exported heads that the chains do not have: all of them, or the latest of each partition."""
        yield from self._stray_heads(_ALL_EXPORTS if full else _LAST_EXPORTS, ())

    def outside_head_breaks(self, heads: Sequence[Head]) -> Iterator[Break]:
        """Of heads that were kept outside of the database, those that the chains do not have."""
        columns = tuple([head[column] for head in heads] for column in range(3))
        yield from self._stray_heads(_OUTSIDE_HEADS, columns)

    def _stray_heads(self, heads: str, parameters: Sequence[Any]) -> Iterator[Break]:
        columns = " (partition, chain_seq, chain_hash)" if parameters else ""
        query = _STRAY_HEADS.replace("{heads} h", f"{heads} h{columns}")
        for partition, chain_seq, head_hash, stored in self._ledger.rows(query, parameters):
            figures = {"exported_hash": bytes(head_hash).hex(), "stored_hash": bytes(stored).hex() if stored else None}
            yield Break(BreakKind.CHAIN_HEAD, f"{partition}/{chain_seq}", figures)

    def export_heads(self, heads: Sequence[ChainRange]) -> None:
        """Keep heads that have been verified."""
        with self._ledger.transaction() as connection:
            for head in heads:
                connection.execute(
                    """INSERT INTO chain_head_export (partition, chain_seq, chain_hash) VALUES (%s, %s, %s)
                    ON CONFLICT DO NOTHING""",
                    (head.partition, head.up_to, head.last_hash),
                )


@contextmanager
def _stream(
    connection: psycopg.Connection[Any], name: str, query: str, parameters: Any
) -> Iterator[Iterator[tuple[Any, ...]]]:
    with connection.cursor(name=name) as cursor:
        cursor.itersize = STREAM_ROWS
        cursor.execute(query, parameters)
        yield iter(cursor)


def _transaction(row: tuple[Any, ...]) -> LedgerTransaction:
    """A row of the chain, without its entries."""
    *fields, previous_hash, own_hash = row
    return LedgerTransaction(*[*fields, [], previous_hash, own_hash])
