"""Breaks for people: lists, one with its history, the ageing report, and the changes that people make."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from app.domain.break_workflow import (
    AGES,
    AgeingLine,
    BreakChange,
    BreakCount,
    BreakEvent,
    BreakFilter,
    BreakRecord,
    BreakState,
    EventAction,
    refuse_break_change,
)
from app.domain.found_breaks import BreakSource, EvidenceKind, EvidenceLink
from app.domain.origin import note_recorded
from app.domain.refusals import Refusal
from app.ledger.break_records import record_break_event
from app.ledger.connections import translated

_COLUMNS = """
SELECT break_id, source, kind, subject, account_id, entity_id, currency_code, ledger_minor, other_minor, figures,
    evidence, state, owner, reason_code, due_at, first_run_id, last_run_id, first_seen_at, last_seen_at, settled_at
FROM reconciliation_break
"""
_WHERE = """
WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
    AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s::text[]))
    AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
    AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s::text)
    AND (%(entity_id)s::text IS NULL OR coalesce(entity_id, %(entity_id)s::text) = %(entity_id)s::text)
    AND (%(owner)s::text IS NULL OR coalesce(owner, '') = %(owner)s::text)
    AND (%(overdue_at)s::timestamptz IS NULL
        OR (due_at < %(overdue_at)s::timestamptz AND state IN ('open', 'investigating')))
"""
_PAGE = f"{_COLUMNS}{_WHERE} AND break_id > %(after)s ORDER BY break_id LIMIT %(limit)s"
_DUE_FIRST = f"""{_COLUMNS}{_WHERE}
ORDER BY settled_at DESC NULLS FIRST, due_at NULLS LAST, break_id DESC LIMIT %(limit)s"""
_COUNT = f"SELECT count(*) FROM reconciliation_break {_WHERE}"  # noqa: S608 - no value is in it
_ONE = f"{_COLUMNS} WHERE break_id = %(break_id)s"
_EVENTS = """
SELECT event_id, actor, action, state, owner, reason_code, due_at, note, recorded_at
FROM reconciliation_break_event WHERE break_id = %(break_id)s ORDER BY event_id
"""
_CHANGE = """
UPDATE reconciliation_break SET state = %(state)s, owner = %(owner)s, reason_code = %(reason_code)s,
    due_at = %(due_at)s, settled_at = CASE WHEN %(is_settled)s THEN clock_timestamp() END
WHERE break_id = %(break_id)s
"""
_AGEING = """
SELECT source, account_id, entity_id, currency_code,
    count(*) FILTER (WHERE age < %(first)s), count(*) FILTER (WHERE age >= %(first)s AND age < %(second)s),
    count(*) FILTER (WHERE age >= %(second)s AND age < %(third)s), count(*) FILTER (WHERE age >= %(third)s),
    count(*) FILTER (WHERE due_at < %(now)s), count(*) FILTER (WHERE owner IS NULL),
    sum(abs(coalesce(other_minor, 0) - coalesce(ledger_minor, 0))), min(first_seen_at)
FROM (SELECT b.*, %(now)s - first_seen_at AS age FROM reconciliation_break b WHERE state IN ('open', 'investigating')
    AND (%(entity_id)s::text IS NULL OR coalesce(entity_id, %(entity_id)s::text) = %(entity_id)s::text)) open
GROUP BY source, account_id, entity_id, currency_code ORDER BY min(first_seen_at), source, account_id
"""
_COUNTS = """
SELECT source, kind, state, count(*),
    count(*) FILTER (WHERE state IN ('open', 'investigating') AND due_at < clock_timestamp()), min(first_seen_at)
FROM reconciliation_break GROUP BY source, kind, state ORDER BY source, kind, state
"""


class LedgerBreaks:
    """Breaks as the ledger keeps them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, break_id: int) -> BreakRecord | None:
        """One break; None if there is none."""
        rows = self._rows(_ONE, {"break_id": break_id})
        return _record(rows[0]) if rows else None

    def events(self, break_id: int) -> list[BreakEvent]:
        """The history of a break, oldest first."""
        return [BreakEvent(*row) for row in self._rows(_EVENTS, {"break_id": break_id})]

    def page(self, wanted: BreakFilter, *, limit: int, after: int) -> list[BreakRecord]:
        """Up to `limit` breaks in the order in which they were found, after the one with that id."""
        return [_record(row) for row in self._rows(_PAGE, {**_filtered(wanted), "limit": limit, "after": after})]

    def due_first(self, wanted: BreakFilter, *, limit: int) -> tuple[list[BreakRecord], int]:
        """Up to `limit` breaks, open ones first by date, then those that were settled last; and how many there are."""
        parameters = _filtered(wanted)
        found = [_record(row) for row in self._rows(_DUE_FIRST, {**parameters, "limit": limit})]
        return found, len(found) if len(found) < limit else self._rows(_COUNT, parameters)[0][0]

    def change(self, break_id: int, change: BreakChange, actor: str) -> BreakRecord | Refusal | None:
        """Make a change and record it; the break after it, a refusal, or None if there is no such break."""
        with translated(), self._engine.begin() as connection:
            row = connection.exec_driver_sql(f"{_ONE} FOR UPDATE", {"break_id": break_id}).first()
            if row is None:
                return None
            current = _record(row)
            refusal = refuse_break_change(current, change)
            if refusal is not None:
                return refusal
            _apply(connection, current, change, actor)
            changed = _record(connection.exec_driver_sql(_ONE, {"break_id": break_id}).one())
        note_recorded()
        return changed

    def ageing(self, now: datetime, entity_id: str | None = None) -> list[AgeingLine]:
        """The open breaks by account and currency, those with the oldest first."""
        first, second, third = AGES
        parameters = {"now": now, "entity_id": entity_id, "first": first, "second": second, "third": third}
        return [
            AgeingLine(
                source=BreakSource(row[0]),
                account_id=row[1],
                entity_id=row[2],
                currency_code=row[3],
                counts=tuple(row[4:8]),
                overdue=row[8],
                nobodys=row[9],
                sum_minor=int(row[10]),
                oldest_at=row[11],
            )
            for row in self._rows(_AGEING, parameters)
        ]

    def counts(self) -> list[BreakCount]:
        """How many breaks there are, by source, kind and state."""
        return [BreakCount(*row) for row in self._rows(_COUNTS, {})]

    def _rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
        with translated(), self._engine.connect() as connection:
            return connection.exec_driver_sql(query, dict(parameters)).fetchall()


def _apply(connection: Connection, current: BreakRecord, change: BreakChange, actor: str) -> None:
    names = ("owner", "reason_code", "state", "due_at")
    after = {name: change.fields.get(name, getattr(current, name)) for name in names}
    if change.fields:
        values = {**after, "state": BreakState(after["state"]).value, "is_settled": after["state"].is_settled}
        connection.exec_driver_sql(_CHANGE, {**values, "break_id": current.break_id})
    action = EventAction.CHANGED if change.fields else EventAction.COMMENTED
    record_break_event(connection.exec_driver_sql, current.break_id, actor, change.comment, action)


def _filtered(wanted: BreakFilter) -> dict[str, Any]:
    return {
        "source": None if wanted.source is None else wanted.source.value,
        "states": None if wanted.states is None else [one.value for one in wanted.states],
        "kind": wanted.kind,
        "account_id": wanted.account_id,
        "entity_id": wanted.entity_id,
        "owner": wanted.owner,
        "overdue_at": wanted.overdue_at,
    }


def _record(row: Any) -> BreakRecord:
    return BreakRecord(
        break_id=row.break_id,
        source=BreakSource(row.source),
        kind=row.kind,
        subject=row.subject,
        account_id=row.account_id,
        entity_id=row.entity_id,
        currency_code=row.currency_code,
        ledger_minor=None if row.ledger_minor is None else int(row.ledger_minor),
        other_minor=None if row.other_minor is None else int(row.other_minor),
        figures=row.figures,
        evidence=[EvidenceLink(EvidenceKind(one["kind"]), one["id"]) for one in row.evidence],
        state=BreakState(row.state),
        owner=row.owner,
        reason_code=row.reason_code,
        due_at=row.due_at,
        first_run_id=row.first_run_id,
        last_run_id=row.last_run_id,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        settled_at=row.settled_at,
    )
