"""What the ledger keeps of its proofs: runs, breaks with their history, repairs, and the incremental runs' cursors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.break_workflow import ReasonCode
from app.domain.breaks import OF_THE_CACHE, Break, ChainRange, ProofReport
from app.domain.found_breaks import OpenSubject, inside_break
from app.ledger.audit_records import record_change
from app.ledger.break_records import note_repair, open_break, settle_break, settle_unseen
from app.ledger.connections import LedgerConnection, connect

_RECORD_REPAIR = "INSERT INTO audit_event (actor, action, subject, detail) VALUES (%s, %s, %s, %s)"
_MOVE_CURSOR = """
INSERT INTO reconciliation_cursor AS c (partition, chain_seq) VALUES (%s, %s)
ON CONFLICT (partition) DO UPDATE SET chain_seq = excluded.chain_seq WHERE c.chain_seq < excluded.chain_seq
"""
_NOTE_PROGRESS = """
UPDATE reconciliation_run SET checked = %s, heard_at = clock_timestamp() WHERE run_id = %s AND finished_at IS NULL
"""
_BEGIN_RUN = "INSERT INTO reconciliation_run (mode, asked_by, expected) VALUES (%s, %s, %s) RETURNING run_id"
_OPEN_BREAKS = """
SELECT count(*) FROM reconciliation_break WHERE source = 'inside' AND state IN ('open', 'investigating')
"""
IN_DOUBT = """
SELECT EXISTS (SELECT FROM reconciliation_break
    WHERE source = 'inside' AND state IN ('open', 'investigating') AND kind <> ALL(%s))
"""
_TO_LOOK_AT_AGAIN = """
SELECT break_id, kind, subject, account_id FROM reconciliation_break
WHERE source = 'inside' AND state IN ('open', 'investigating') ORDER BY last_seen_at, break_id LIMIT %s
"""
KINDS_OF_CACHE = [kind.value for kind in OF_THE_CACHE]
"""The parameter of IN_DOUBT: any other kind is about the ledger itself."""
RECONCILER = "reconciler"
REPAIR_ACTION = "cache.repair"


class ProofRecords:
    """The records, over the connection of the proof that makes them. Each is written in a transaction of its own."""

    def __init__(self, ledger: LedgerConnection) -> None:
        self._ledger = ledger

    def begin_run(self, mode: str, asked_by: str | None, expected: Mapping[str, int]) -> int:
        """Start a run that sets out to check so much; returns its id. Without `asked_by` it was due."""
        with self._ledger.transaction() as connection:
            return _one(connection, _BEGIN_RUN, (mode, asked_by, Jsonb(dict(expected))))

    def open_breaks(self, limit: int) -> list[OpenSubject]:
        """Up to `limit` open breaks inside, those first that were not seen for the longest time."""
        return [OpenSubject(*row) for row in self._ledger.rows(_TO_LOOK_AT_AGAIN, (limit,))]

    def is_in_doubt(self) -> bool:
        """Whether a break of the ledger itself is open, so that nothing may be rebuilt from it."""
        with self._ledger.transaction() as connection:
            return bool(_one(connection, IN_DOUBT, (KINDS_OF_CACHE,)))

    def record_repair(self, account_id: str, breaks: Sequence[Break], actor: str, reason: str) -> None:
        """Keep who rebuilds an account in the cache, why, and what was wrong; before it is done."""
        with self._ledger.transaction() as connection:
            _repair(connection, account_id, breaks, actor, reason, ReasonCode.REPAIRED)

    def record_healing(self, run_id: int, found: Break, reason: str) -> None:
        """Keep a break of the cache that the run itself corrects, before it does so. Its subject is an account."""
        with self._ledger.transaction() as connection:
            _record(connection, run_id, found)
            _repair(connection, found.subject, [found], RECONCILER, reason, ReasonCode.HEALED)

    def record_healed(self, run_id: int, found: Break) -> None:
        """Keep that it is corrected."""
        with self._ledger.transaction() as connection:
            note = f"corrected by run {run_id}"
            settle_break(connection.execute, found.kind, found.subject, RECONCILER, note, reason_code=ReasonCode.HEALED)

    def finish_run(
        self,
        run_id: int,
        report: ProofReport,
        ranges: Sequence[ChainRange],
        *,
        full: bool,
        looked_at: Collection[int] = (),
    ) -> int:
        """Keep what a run found and move the cursors; returns the number of open breaks.

        A break that the run did not see is resolved if the run has looked there: a full one has looked everywhere, from
        the rows and not from a cursor, another one where the breaks of `looked_at` had been found.
        """
        with self._ledger.transaction() as connection:
            for one in report.breaks:
                _record(connection, run_id, one)
            note = f"not seen by {'full ' if full else ''}run {run_id}"
            settle_unseen(connection.execute, run_id, RECONCILER, note, looked_at=None if full else looked_at)
            for part in ranges:
                if part.head is not None and part.up_to > part.cursor:
                    connection.execute(_MOVE_CURSOR, (part.partition, part.up_to))
            connection.execute(
                """UPDATE reconciliation_run SET finished_at = clock_timestamp(), checked = %s, break_count = %s
                WHERE run_id = %s""",
                (Jsonb(report.checked), len(report.breaks), run_id),
            )
            return _one(connection, _OPEN_BREAKS, ())


class LedgerRunProgress:
    """Keeps how far a run under way is, over a connection of its own: the run's other connections are in use."""

    def __init__(self, database_url: str) -> None:
        self._ledger = LedgerConnection(
            partial(connect, database_url, application_name="holdfast progress"), checks_idle=True
        )

    def note(self, run_id: int, checked: Mapping[str, int]) -> None:
        """Keep what a run has checked so far, unless it has ended."""
        with self._ledger.transaction() as connection:
            connection.execute(_NOTE_PROGRESS, (Jsonb(dict(checked)), run_id))


def _record(connection: psycopg.Connection[Any], run_id: int, found: Break) -> None:
    open_break(connection.execute, inside_break(found), RECONCILER, f"found by run {run_id}", run_id=run_id)


def _repair(
    connection: psycopg.Connection[Any],
    account_id: str,
    breaks: Sequence[Break],
    actor: str,
    reason: str,
    reason_code: ReasonCode,
) -> None:
    detail = {"reason": reason, "breaks": [asdict(one) for one in breaks]}
    connection.execute(_RECORD_REPAIR, (actor, REPAIR_ACTION, account_id, Jsonb(detail)))
    record_change(connection.execute, Action.CACHE_REPAIR, actor, account_id=account_id, result=detail)
    for one in breaks:
        note = f"the cache is rebuilt from the ledger: {reason}"
        note_repair(connection.execute, one.kind, one.subject, actor, note, reason_code)


def _one(connection: psycopg.Connection[Any], query: str, parameters: Sequence[Any]) -> int:
    [(value,)] = connection.execute(query, parameters).fetchall()
    number: int = value
    return number
