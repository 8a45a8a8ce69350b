"""What a proof reads from the books, and how it keeps its runs and breaks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app.domain.entries import Entry, LedgerTransaction
from app.domain.proof import Break, BreakKind, ChainRange, ProofReport
from app.ledger.database import connect, translated

STREAM_ROWS = 5_000
"""Rows fetched at once by a streaming read: memory does not grow with the books."""


_RANGES = """
SELECT p.partition, CASE WHEN %(full)s THEN 0 ELSE c.chain_seq END, p.chain_seq, p.chain_hash
FROM partition p JOIN reconciliation_cursor c USING (partition) ORDER BY partition
"""
_BALANCE_BREAKS = """
SELECT b.account_id, b.balance_minor, b.entry_count, b.normal_sign * coalesce(e.total, 0) AS entry_sum,
    coalesce(e.number, 0) AS number, coalesce(e.last, 0) AS last
FROM account_balance b
LEFT JOIN (SELECT account_id, sum(amount_minor) AS total, count(*) AS number, max(entry_number) AS last
    FROM entry GROUP BY account_id) e USING (account_id)
WHERE b.balance_minor <> b.normal_sign * coalesce(e.total, 0)
    OR b.entry_count <> coalesce(e.number, 0) OR b.entry_count <> coalesce(e.last, 0)
"""
_ORPHAN_ACCOUNTS = """
SELECT e.account_id, count(*) FROM entry e
WHERE NOT EXISTS (SELECT FROM account_balance b WHERE b.account_id = e.account_id) GROUP BY e.account_id
"""
_TOUCHED = """
SELECT DISTINCT account_id FROM entry WHERE partition = %s AND chain_seq > %s AND chain_seq <= %s
"""
_TOUCHED_BREAKS = """
SELECT b.account_id, b.balance_minor, b.entry_count, coalesce(e.balance_minor, 0)
FROM account_balance b LEFT JOIN entry e ON e.account_id = b.account_id AND e.entry_number = b.entry_count
WHERE b.account_id = ANY(%s) AND (b.balance_minor <> coalesce(e.balance_minor, 0)
    OR (b.entry_count > 0 AND e.account_id IS NULL)
    OR EXISTS (SELECT FROM entry later WHERE later.account_id = b.account_id AND later.entry_number > b.entry_count))
"""
_RUNNING_BREAKS = """
SELECT e.account_id, e.entry_number, e.balance_minor,
    coalesce(before.balance_minor, 0) + b.normal_sign * e.amount_minor AS expected,
    before.account_id IS NULL AND e.entry_number > 1 AS gap
FROM entry e
LEFT JOIN account_balance b ON b.account_id = e.account_id
LEFT JOIN entry before ON before.account_id = e.account_id AND before.entry_number = e.entry_number - 1
WHERE e.partition = %s AND e.chain_seq > %s AND e.chain_seq <= %s
    AND (e.balance_minor IS DISTINCT FROM coalesce(before.balance_minor, 0) + b.normal_sign * e.amount_minor
        OR (before.account_id IS NULL AND e.entry_number > 1))
"""
_UNBALANCED = """
SELECT coalesce(t.chain_seq, e.chain_seq), e.entries, e.difference, t.chain_seq IS NULL
FROM (SELECT chain_seq FROM ledger_transaction WHERE partition = %(p)s AND chain_seq > %(a)s AND chain_seq <= %(u)s) t
FULL JOIN (SELECT chain_seq, sum(count) AS entries, max(abs(difference)) AS difference FROM
    (SELECT chain_seq, currency_code, count(*), sum(amount_minor) AS difference FROM entry
     WHERE partition = %(p)s AND chain_seq > %(a)s AND chain_seq <= %(u)s GROUP BY chain_seq, currency_code) legs
    GROUP BY chain_seq) e USING (chain_seq)
WHERE t.chain_seq IS NULL OR e.entries IS NULL OR e.entries < 2 OR e.difference <> 0
"""
_TRIAL_BALANCE = """
SELECT entity_id, currency_code, sum(normal_sign * balance_minor) FROM account_balance
GROUP BY entity_id, currency_code HAVING sum(normal_sign * balance_minor) <> 0
"""
_BALANCES_AT = """
SELECT w.account_id, b.entry_count, b.floor_minor, CASE WHEN w.entry_number = 0 THEN 0 ELSE e.balance_minor END
FROM unnest(%s::text[], %s::bigint[]) AS w (account_id, entry_number)
LEFT JOIN account_balance b USING (account_id)
LEFT JOIN entry e ON e.account_id = w.account_id AND e.entry_number = w.entry_number
"""
_SETTLED = """
SELECT payment_id FROM ledger_transaction WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_rejection WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_duplicate WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM hold WHERE payment_id = ANY(%(ids)s)
UNION SELECT intent_id FROM hold_event WHERE intent_id = ANY(%(ids)s)
"""
_OPEN_AUTHORIZATIONS = """
SELECT payment_id, hold_minor FROM hold WHERE payment_id = ANY(%s) AND state = 'authorized'
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
_RECORD_BREAK = """
INSERT INTO reconciliation_break AS b (kind, subject, figures, first_run_id, last_run_id)
VALUES (%(kind)s, %(subject)s, %(figures)s, %(run)s, %(run)s)
ON CONFLICT (kind, subject) WHERE state IN ('open', 'investigating')
DO UPDATE SET last_run_id = excluded.last_run_id, last_seen_at = clock_timestamp(), figures = excluded.figures
RETURNING break_id, first_run_id = %(run)s
"""
_RESOLVE_UNSEEN = """
UPDATE reconciliation_break SET state = 'resolved', reason_code = 'no_longer_seen'
WHERE state IN ('open', 'investigating') AND last_run_id < %s RETURNING break_id
"""
_BREAK_EVENT = "INSERT INTO reconciliation_break_event (break_id, actor, state, note) VALUES (%s, %s, %s, %s)"
RECONCILER = "reconciler"


class ProofBooks:
    """The books, for whoever proves something about them. One connection, without a statement timeout."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Looking

    def ranges(self, *, full: bool) -> list[ChainRange]:
        """What each chain has since the last incremental run, or since its beginning."""
        return [ChainRange(*row) for row in self._rows(_RANGES, {"full": full})]

    def touched(self, part: ChainRange) -> list[str]:
        """The accounts with entries in a range."""
        return [row[0] for row in self._rows(_TOUCHED, (part.partition, part.after, part.up_to))]

    def balance_breaks(self) -> Iterator[Break]:
        """Accounts whose balance is not the sum of their entries, over all entries; and entries without account."""
        for account_id, balance, count, entry_sum, number, last in self._rows(_BALANCE_BREAKS, ()):
            figures = {"balance_minor": balance, "entry_sum_minor": int(entry_sum), "entry_count": count}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_sum else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures | {"entries": number, "last_entry_number": last})
        for account_id, number in self._rows(_ORPHAN_ACCOUNTS, ()):
            yield Break(BreakKind.ORPHAN_ENTRY, account_id, {"entries": number})

    def touched_balance_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        """Of these accounts, those whose balance is not their last entry's."""
        for account_id, balance, count, entry_balance in self._rows(_TOUCHED_BREAKS, (list(account_ids),)):
            figures = {"balance_minor": balance, "entry_count": count, "last_entry_balance_minor": entry_balance}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_balance else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures)

    def entry_breaks(self, part: ChainRange) -> Iterator[Break]:
        """Entries of a range that do not follow from their predecessors; transactions that do not balance."""
        bounds = (part.partition, part.after, part.up_to)
        for account_id, number, balance, expected, gap in self._rows(_RUNNING_BREAKS, bounds):
            kind = BreakKind.ENTRY_GAP if gap else BreakKind.ENTRY_RUNNING_BALANCE
            figures = {"balance_minor": balance, "expected_minor": None if expected is None else int(expected)}
            yield Break(kind, f"{account_id}#{number}", figures)
        named = {"p": part.partition, "a": part.after, "u": part.up_to}
        for chain_seq, entries, difference, orphan in self._rows(_UNBALANCED, named):
            figures = {"entries": int(entries or 0), "difference_minor": int(difference or 0)}
            kind = BreakKind.ORPHAN_ENTRY if orphan else BreakKind.TRANSACTION_UNBALANCED
            yield Break(kind, f"{part.partition}/{chain_seq}", figures)

    def trial_balance_breaks(self) -> Iterator[Break]:
        """Currencies whose debits and credits differ."""
        for entity_id, currency_code, difference in self._rows(_TRIAL_BALANCE, ()):
            yield Break(BreakKind.TRIAL_BALANCE, f"{entity_id}/{currency_code}", {"difference_minor": int(difference)})

    def balances_at(self, points: Sequence[tuple[str, int]]) -> dict[str, tuple[int | None, int | None, int | None]]:
        """For (account, entry number): the ledger's entry count, floor, and balance at that entry."""
        accounts, numbers = [point[0] for point in points], [point[1] for point in points]
        rows = self._rows(_BALANCES_AT, (accounts, numbers))
        return {account_id: (count, floor, balance) for account_id, count, floor, balance in rows}

    def settled_floor(self, account_id: str) -> int | None:
        """An account's floor, once whatever is just being changed or posted on it is committed or given up."""
        query = "SELECT floor_minor FROM account_balance WHERE account_id = %s FOR SHARE"
        row = next(iter(self._rows(query, (account_id,))), None)
        return None if row is None else row[0]

    def settled(self, payment_ids: Sequence[str]) -> set[str]:
        """Which of these payments the books have answered."""
        return {row[0] for row in self._rows(_SETTLED, {"ids": list(payment_ids)})}

    def open_authorizations(self, payment_ids: Sequence[str]) -> dict[str, int]:
        """The amounts held by those of these payments that are open authorizations."""
        return dict(self._rows(_OPEN_AUTHORIZATIONS, (list(payment_ids),)))

    def chain(self, part: ChainRange) -> Iterator[LedgerTransaction]:
        """The transactions of a range in order, with their entries, streamed."""
        bounds = (part.partition, part.after, part.up_to)
        with (
            translated(),
            self._connected().transaction(),
            self._stream("chain", _CHAIN, bounds) as transactions,
            self._stream("chain_entries", _CHAIN_ENTRIES, bounds) as entries,
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
        """The hash stored at a place of a chain."""
        query = "SELECT hash FROM ledger_transaction WHERE partition = %s AND chain_seq = %s"
        row = next(iter(self._rows(query, (partition, chain_seq))), None)
        return None if row is None else bytes(row[0])

    def exported_heads(self) -> list[tuple[int, int, bytes]]:
        """The latest exported head of each partition."""
        query = """SELECT DISTINCT ON (partition) partition, chain_seq, chain_hash FROM chain_head_export
            ORDER BY partition, chain_seq DESC"""
        return [(row[0], row[1], bytes(row[2])) for row in self._rows(query, ())]

    # Keeping

    def begin_run(self, mode: str) -> int:
        """Start a run; returns its id."""
        [row] = self._rows("INSERT INTO reconciliation_run (mode) VALUES (%s) RETURNING run_id", (mode,))
        run_id: int = row[0]
        return run_id

    def finish_run(self, run_id: int, report: ProofReport, ranges: Sequence[ChainRange], *, full: bool) -> int:
        """Keep what a run found, move the cursors, export the heads; returns the number of open breaks."""
        with translated(), self._connected().transaction():
            connection = self._connected()
            for one in report.breaks:
                parameters = {"kind": one.kind, "subject": one.subject, "figures": Jsonb(one.figures), "run": run_id}
                row = connection.execute(_RECORD_BREAK, parameters).fetchone()
                if row is not None and row[1]:
                    connection.execute(_BREAK_EVENT, (row[0], RECONCILER, "open", f"found by run {run_id}"))
            if full:
                for (break_id,) in connection.execute(_RESOLVE_UNSEEN, (run_id,)).fetchall():
                    note = f"not seen by full run {run_id}"
                    connection.execute(_BREAK_EVENT, (break_id, RECONCILER, "resolved", note))
            for part in ranges:
                connection.execute(
                    "UPDATE reconciliation_cursor SET chain_seq = %s WHERE partition = %s AND chain_seq < %s",
                    (part.up_to, part.partition, part.up_to),
                )
            open_breaks = connection.execute(
                "SELECT count(*) FROM reconciliation_break WHERE state IN ('open', 'investigating')"
            ).fetchone()
            connection.execute(
                """UPDATE reconciliation_run SET finished_at = clock_timestamp(), checked = %s, break_count = %s
                WHERE run_id = %s""",
                (Jsonb(report.checked), len(report.breaks), run_id),
            )
        assert open_breaks is not None
        count: int = open_breaks[0]
        return count

    def export_heads(self, heads: Sequence[ChainRange]) -> None:
        """Keep heads that have been verified."""
        with translated(), self._connected().transaction():
            for head in heads:
                self._connected().execute(
                    """INSERT INTO chain_head_export (partition, chain_seq, chain_hash) VALUES (%s, %s, %s)
                    ON CONFLICT DO NOTHING""",
                    (head.partition, head.up_to, head.head_hash),
                )

    # Connection

    def _rows(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        with translated(), self._connected().transaction():
            return self._connected().execute(query, parameters).fetchall()

    @contextmanager
    def _stream(self, name: str, query: str, parameters: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        with self._connected().cursor(name=name) as cursor:
            cursor.itersize = STREAM_ROWS
            cursor.execute(query, parameters)
            yield iter(cursor)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            with translated():
                self._connection = connect(self._database_url, application_name="holdfast proof")
                self._connection.execute("SET statement_timeout = 0")
                self._connection.commit()
        return self._connection


def _transaction(row: tuple[Any, ...]) -> LedgerTransaction:
    """A row of the chain, its entries still to come."""
    *fields, previous_hash, own_hash = row
    return LedgerTransaction(*[*fields, [], previous_hash, own_hash])
