"""Writing breaks: opening one, telling what becomes of it, settling it. Every change has its event and audit record.

These functions run in the transaction of their caller, over the driver or over SQLAlchemy, and are the only writers of
breaks: what reconciliation finds inside and what matching finds outside comes through `open_break`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.break_workflow import BreakState, EventAction, ReasonCode
from app.domain.breaks import BreakKind
from app.domain.found_breaks import FoundBreak, due_within
from app.ledger.audit_records import record_change

Execute = Callable[[str, Mapping[str, Any]], Any]
"""A connection's way to run a statement of the driver: `execute`, or `exec_driver_sql` of SQLAlchemy."""

# xmax is 0 in a row that this statement has inserted, and not in one that it has updated.
_OPEN = """
INSERT INTO reconciliation_break AS b (source, kind, subject, figures, account_id, entity_id, currency_code,
    ledger_minor, other_minor, evidence, due_at, first_run_id, last_run_id)
VALUES (%(source)s, %(kind)s, %(subject)s, %(figures)s, %(account_id)s,
    coalesce(%(entity_id)s::text, (SELECT a.entity_id FROM account a WHERE a.account_id = %(account_id)s::text)),
    coalesce(%(currency_code)s::text,
        (SELECT a.currency_code FROM account a WHERE a.account_id = %(account_id)s::text)),
    %(ledger_minor)s::numeric, %(other_minor)s::numeric, %(evidence)s,
    coalesce(%(due_at)s::timestamptz, clock_timestamp() + %(due_within)s::interval), %(run_id)s, %(run_id)s)
ON CONFLICT (kind, subject) WHERE state IN ('open', 'investigating')
DO UPDATE SET last_run_id = coalesce(excluded.last_run_id, b.last_run_id), last_seen_at = clock_timestamp(),
    figures = excluded.figures, ledger_minor = excluded.ledger_minor, other_minor = excluded.other_minor,
    evidence = excluded.evidence
RETURNING break_id, xmax = 0
"""
_SETTLE = """
UPDATE reconciliation_break SET state = %(state)s, reason_code = coalesce(reason_code, %(reason_code)s),
    owner = coalesce(owner, %(owner)s), settled_at = clock_timestamp()
WHERE state IN ('open', 'investigating') AND kind = %(kind)s
    AND (%(subject)s::text IS NULL OR subject = %(subject)s::text)
RETURNING break_id, subject
"""
_SETTLE_UNSEEN = """
UPDATE reconciliation_break SET state = 'resolved', reason_code = coalesce(reason_code, %(reason_code)s),
    settled_at = clock_timestamp()
WHERE source = 'inside' AND state IN ('open', 'investigating') AND last_run_id < %(run_id)s AND kind <> %(lost)s
    AND (%(looked_at)s::bigint[] IS NULL OR break_id = ANY(%(looked_at)s::bigint[]))
RETURNING break_id
"""
_NOTE_REPAIR = """
UPDATE reconciliation_break SET state = 'investigating', reason_code = coalesce(reason_code, %(reason_code)s)
WHERE kind = %(kind)s AND subject = %(subject)s AND state IN ('open', 'investigating') RETURNING break_id
"""
_EVENT = """
INSERT INTO reconciliation_break_event (break_id, actor, action, state, owner, reason_code, due_at, note)
SELECT break_id, %(actor)s, %(action)s, state, owner, reason_code, due_at, %(note)s
FROM reconciliation_break WHERE break_id = %(break_id)s
RETURNING state, owner, reason_code, due_at
"""
_ACCOUNT = "SELECT account_id, kind, subject FROM reconciliation_break WHERE break_id = %(break_id)s"


def open_break(
    execute: Execute, found: FoundBreak, actor: str, note: str, *, run_id: int | None = None
) -> tuple[int, bool]:
    """Open a break, or note that an open one of its kind and subject is seen again; its id, and whether it is new.

    `run_id` is the reconciliation that found it; a break from outside has none.
    """
    parameters = {
        "source": found.source.value,
        "kind": str(found.kind),
        "subject": found.subject,
        "figures": Jsonb(dict(found.figures)),
        "account_id": found.account_id,
        "entity_id": found.entity_id,
        "currency_code": found.currency_code,
        "ledger_minor": found.ledger_minor,
        "other_minor": found.other_minor,
        "evidence": Jsonb([asdict(link) for link in found.evidence]),
        "due_at": found.due_at,
        "due_within": due_within(found.source, found.kind),
        "run_id": run_id,
    }
    [(break_id, is_new)] = execute(_OPEN, parameters).fetchall()
    if is_new:
        record_break_event(execute, break_id, actor, note, EventAction.OPENED)
    return break_id, is_new


def settle_break(
    execute: Execute,
    kind: str,
    subject: str | None,
    actor: str,
    note: str,
    *,
    reason_code: ReasonCode,
    state: BreakState = BreakState.RESOLVED,
    owner: str | None = None,
) -> list[str]:
    """Settle what is open of this kind about the subject, or about any; returns the subjects.

    A reason or an owner that people have given stays.
    """
    named = {"kind": str(kind), "subject": subject, "state": state.value, "owner": owner}
    settled = execute(_SETTLE, named | {"reason_code": reason_code.value}).fetchall()
    for break_id, _ in settled:
        record_break_event(execute, break_id, actor, note)
    return [about for _, about in settled]


def settle_unseen(
    execute: Execute, run_id: int, actor: str, note: str, *, looked_at: Collection[int] | None = None
) -> None:
    """Settle the breaks inside that a run has not seen: all of them, or of those that it has `looked_at` again.

    What a cache has lost, no run can see, so people settle that.
    """
    parameters = {
        "run_id": run_id,
        "lost": BreakKind.CACHE_LOST.value,
        "reason_code": ReasonCode.NO_LONGER_SEEN.value,
        "looked_at": None if looked_at is None else sorted(looked_at),
    }
    for (break_id,) in execute(_SETTLE_UNSEEN, parameters).fetchall():
        record_break_event(execute, break_id, actor, note)


def note_repair(execute: Execute, kind: str, subject: str, actor: str, note: str, reason_code: ReasonCode) -> None:
    """Note that an open break is being repaired. A reason that people have given stays."""
    parameters = {"kind": str(kind), "subject": subject, "reason_code": reason_code.value}
    for (break_id,) in execute(_NOTE_REPAIR, parameters).fetchall():
        record_break_event(execute, break_id, actor, note, EventAction.REPAIRED)


def record_break_event(
    execute: Execute, break_id: int, actor: str, note: str, action: EventAction = EventAction.CHANGED
) -> None:
    """Keep what has become of a break, in its history and in the audit, in the transaction that changes it."""
    event = {"break_id": break_id, "actor": actor, "action": action.value, "note": note}
    [(state, owner, reason_code, due_at)] = execute(_EVENT, event).fetchall()
    [(account_id, kind, subject)] = execute(_ACCOUNT, {"break_id": break_id}).fetchall()
    result = {"break_id": break_id, "kind": kind, "subject": subject, "action": action.value, "state": state}
    result |= {"owner": owner, "reason_code": reason_code, "due_at": due_at, "note": note}
    record_change(execute, Action.BREAK_CHANGE, actor, account_id=account_id, result=result)
