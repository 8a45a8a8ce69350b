"""What the proofs have found so far: runs and breaks, for readers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, exists, func, select

from app.domain.proof_history import OpenBreak, ProofRun
from app.ledger.connections import translated
from app.ledger.proof_schema import reconciliation_break, reconciliation_run

_RUNS = select(
    reconciliation_run.c.run_id,
    reconciliation_run.c.mode,
    reconciliation_run.c.started_at,
    reconciliation_run.c.finished_at,
    reconciliation_run.c.checked,
    reconciliation_run.c.break_count,
    reconciliation_run.c.asked_by,
    reconciliation_run.c.expected,
    reconciliation_run.c.heard_at,
).order_by(reconciliation_run.c.run_id.desc())
_FINISHED = reconciliation_run.c.finished_at.is_not(None)
_UNSETTLED = (reconciliation_break.c.source == "inside") & reconciliation_break.c.state.in_(("open", "investigating"))


class LedgerProofHistory:
    """Runs and breaks as the ledger keeps them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def last_runs(self) -> tuple[ProofRun | None, ProofRun | None, ProofRun | None]:
        """The last finished run, the last finished full run, and the last run if it has not finished."""
        finished = _RUNS.where(_FINISHED).limit(1)
        full = _RUNS.where(_FINISHED, reconciliation_run.c.mode == "full").limit(1)
        with translated(), self._engine.connect() as connection:
            rows = [connection.execute(query).first() for query in (finished, full, _RUNS.limit(1))]
        last, last_full, newest = (None if row is None else _run(row) for row in rows)
        return last, last_full, newest if newest is not None and newest.finished_at is None else None

    def run(self, run_id: int) -> ProofRun | None:
        """One run; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_RUNS.where(reconciliation_run.c.run_id == run_id)).first()
        return None if row is None else _run(row)

    def runs(self, *, limit: int, before: int | None = None, mode: str | None = None) -> list[ProofRun]:
        """Up to `limit` runs, the latest first, of those before a run."""
        query = _RUNS.limit(limit)
        if before is not None:
            query = query.where(reconciliation_run.c.run_id < before)
        if mode is not None:
            query = query.where(reconciliation_run.c.mode == mode)
        with translated(), self._engine.connect() as connection:
            return [_run(row) for row in connection.execute(query)]

    def last_without(self, kind: str, subject: str, run_id: int) -> ProofRun | None:
        """The last full run before another one, if it did not see this break; None where nobody knows.

        Only a full run is known to have looked at it: what an incremental one compared is not kept.
        """
        seen = reconciliation_break.alias()
        is_seen = exists().where(
            seen.c.kind == kind,
            seen.c.subject == subject,
            reconciliation_run.c.run_id.between(seen.c.first_run_id, seen.c.last_run_id),
        )
        is_full = reconciliation_run.c.mode == "full"
        query = _RUNS.where(_FINISHED, is_full, reconciliation_run.c.run_id < run_id, ~is_seen).limit(1)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _run(row)

    def break_ids(self, run_ids: Sequence[int]) -> dict[int, list[int]]:
        """The breaks that these runs found first, by run."""
        columns = reconciliation_break.c
        query = select(columns.first_run_id, columns.break_id).where(columns.first_run_id.in_(run_ids))
        found: dict[int, list[int]] = {}
        with translated(), self._engine.connect() as connection:
            for run_id, break_id in connection.execute(query.order_by(columns.break_id)):
                found.setdefault(run_id, []).append(break_id)
        return found

    def open_breaks(self, limit: int) -> tuple[list[OpenBreak], dict[str, int], datetime | None]:
        """Up to `limit` unsettled breaks, oldest first; how many there are of each kind; when the first was seen."""
        counts = (
            select(reconciliation_break.c.kind, func.count(), func.min(reconciliation_break.c.first_seen_at))
            .where(_UNSETTLED)
            .group_by(reconciliation_break.c.kind)
        )
        query = select(reconciliation_break).where(_UNSETTLED).order_by(reconciliation_break.c.break_id).limit(limit)
        with translated(), self._engine.connect() as connection:
            by_kind = connection.execute(counts).all()
            rows = connection.execute(query).all()
        first = min((row[2] for row in by_kind), default=None)
        return [_break(row) for row in rows], {row[0]: row[1] for row in by_kind}, first


def _run(row: Any) -> ProofRun:
    return ProofRun(
        run_id=row.run_id,
        mode=row.mode,
        started_at=row.started_at,
        finished_at=row.finished_at,
        checked=row.checked or {},
        break_count=row.break_count or 0,
        asked_by=row.asked_by,
        expected=row.expected or {},
        heard_at=row.heard_at,
    )


def _break(row: Any) -> OpenBreak:
    return OpenBreak(
        break_id=row.break_id,
        kind=row.kind,
        subject=row.subject,
        figures=row.figures,
        state=row.state,
        owner=row.owner,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        run_id=row.last_run_id,
    )
