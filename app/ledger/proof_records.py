"""What the ledger keeps of its proofs: runs, breaks with their history, repairs, and the incremental runs' cursors."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ChainRange, ProofReport
from app.ledger.audit_records import record_change
from app.ledger.connections import LedgerConnection

_RECORD_BREAK = """
INSERT INTO reconciliation_break AS b (kind, subject, figures, first_run_id, last_run_id)
VALUES (%(kind)s, %(subject)s, %(figures)s, %(run)s, %(run)s)
ON CONFLICT (kind, subject) WHERE state IN ('open', 'investigating')
DO UPDATE SET last_run_id = excluded.last_run_id, last_seen_at = clock_timestamp(), figures = excluded.figures
RETURNING break_id, first_run_id = %(run)s
"""
_RESOLVE_UNSEEN = """
UPDATE reconciliation_break SET state = 'resolved', reason_code = 'no_longer_seen'
WHERE state IN ('open', 'investigating') AND last_run_id < %s AND kind <> %s RETURNING break_id
"""
"""What a cache has lost, no run can see, so people only resolve that."""
_RESOLVE_HEALED = """
UPDATE reconciliation_break SET state = 'resolved', reason_code = 'healed'
WHERE kind = %s AND subject = %s AND state IN ('open', 'investigating') RETURNING break_id
"""
_BREAK_EVENT = "INSERT INTO reconciliation_break_event (break_id, actor, state, note) VALUES (%s, %s, %s, %s)"
_INVESTIGATE = """
UPDATE reconciliation_break SET state = 'investigating'
WHERE kind = %s AND subject = %s AND state IN ('open', 'investigating') RETURNING break_id
"""
_RECORD_REPAIR = "INSERT INTO audit_event (actor, action, subject, detail) VALUES (%s, %s, %s, %s)"
_MOVE_CURSOR = """
INSERT INTO reconciliation_cursor AS c (partition, chain_seq) VALUES (%s, %s)
ON CONFLICT (partition) DO UPDATE SET chain_seq = excluded.chain_seq WHERE c.chain_seq < excluded.chain_seq
"""
_OPEN_BREAKS = "SELECT count(*) FROM reconciliation_break WHERE state IN ('open', 'investigating')"
_IN_DOUBT = """
SELECT EXISTS (SELECT FROM reconciliation_break WHERE state IN ('open', 'investigating') AND kind <> ALL(%s))
"""
RECONCILER = "reconciler"
REPAIR_ACTION = "cache.repair"


class ProofRecords:
    """The records, over the connection of the proof that makes them. Each is written in a transaction of its own."""

    def __init__(self, ledger: LedgerConnection) -> None:
        self._ledger = ledger

    def begin_run(self, mode: str) -> int:
        """Start a run; returns its id."""
        with self._ledger.transaction() as connection:
            statement = "INSERT INTO reconciliation_run (mode) VALUES (%s) RETURNING run_id"
            return _one(connection, statement, (mode,))

    def is_in_doubt(self) -> bool:
        """Whether a break of the ledger itself is open, so that nothing may be rebuilt from it."""
        with self._ledger.transaction() as connection:
            return bool(_one(connection, _IN_DOUBT, ([kind.value for kind in OF_THE_CACHE],)))

    def record_repair(self, account_id: str, breaks: Sequence[Break], actor: str, reason: str) -> None:
        """Keep who rebuilds an account in the cache, why, and what was wrong; before it is done."""
        with self._ledger.transaction() as connection:
            _repair(connection, account_id, breaks, actor, reason)

    def record_healing(self, run_id: int, found: Break, reason: str) -> None:
        """Keep a break of the cache that the run itself corrects, before it does so. Its subject is an account."""
        with self._ledger.transaction() as connection:
            _record(connection, run_id, found)
            _repair(connection, found.subject, [found], RECONCILER, reason)

    def record_healed(self, run_id: int, found: Break) -> None:
        """Keep that it is corrected."""
        with self._ledger.transaction() as connection:
            for (break_id,) in connection.execute(_RESOLVE_HEALED, (found.kind, found.subject)).fetchall():
                record_break_event(connection, break_id, RECONCILER, "resolved", f"corrected by run {run_id}")

    def finish_run(self, run_id: int, report: ProofReport, ranges: Sequence[ChainRange], *, full: bool) -> int:
        """Keep what a run found and move the cursors; returns the number of open breaks.

        Only a full run resolves what it did not see: it has looked at everything, from the rows and not from a cursor.
        """
        with self._ledger.transaction() as connection:
            for one in report.breaks:
                _record(connection, run_id, one)
            if full:
                for (break_id,) in connection.execute(_RESOLVE_UNSEEN, (run_id, BreakKind.CACHE_LOST)).fetchall():
                    note = f"not seen by full run {run_id}"
                    record_break_event(connection, break_id, RECONCILER, "resolved", note)
            for part in ranges:
                if part.head is not None and part.up_to > part.cursor:
                    connection.execute(_MOVE_CURSOR, (part.partition, part.up_to))
            connection.execute(
                """UPDATE reconciliation_run SET finished_at = clock_timestamp(), checked = %s, break_count = %s
                WHERE run_id = %s""",
                (Jsonb(report.checked), len(report.breaks), run_id),
            )
            return _one(connection, _OPEN_BREAKS, ())


def record_break_event(connection: psycopg.Connection[Any], break_id: int, actor: str, state: str, note: str) -> None:
    """Keep what has become of a break, in its history and in the audit, in the transaction that changes it."""
    connection.execute(_BREAK_EVENT, (break_id, actor, state, note))
    result = {"break_id": break_id, "state": state, "note": note}
    record_change(connection.execute, Action.BREAK_CHANGE, actor, result=result)


def _record(connection: psycopg.Connection[Any], run_id: int, found: Break) -> None:
    parameters = {"kind": found.kind, "subject": found.subject, "figures": Jsonb(found.figures), "run": run_id}
    break_id, is_new = connection.execute(_RECORD_BREAK, parameters).fetchall()[0]
    if is_new:
        record_break_event(connection, break_id, RECONCILER, "open", f"found by run {run_id}")


def _repair(
    connection: psycopg.Connection[Any], account_id: str, breaks: Sequence[Break], actor: str, reason: str
) -> None:
    detail = {"reason": reason, "breaks": [asdict(one) for one in breaks]}
    connection.execute(_RECORD_REPAIR, (actor, REPAIR_ACTION, account_id, Jsonb(detail)))
    record_change(connection.execute, Action.CACHE_REPAIR, actor, account_id=account_id, result=detail)
    for one in breaks:
        for (break_id,) in connection.execute(_INVESTIGATE, (one.kind, one.subject)).fetchall():
            note = f"the cache is rebuilt from the ledger: {reason}"
            record_break_event(connection, break_id, actor, "investigating", note)


def _one(connection: psycopg.Connection[Any], query: str, parameters: Sequence[Any]) -> int:
    [(value,)] = connection.execute(query, parameters).fetchall()
    number: int = value
    return number
