"""The breaks of lines and entries without a match: opened when one is found, settled when it has a match.

Up to a bound for each run: more than so many nobody works on one by one, and then a rule or a setup is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.domain.break_workflow import ReasonCode
from app.domain.found_breaks import BreakSource, EvidenceKind, EvidenceLink, FoundBreak
from app.domain.match_reasons import Reason
from app.domain.match_records import StatementAccount
from app.ledger.break_records import open_break, settle_break

MOST_OPENED = 500

ONLY_ON_STATEMENT, ONLY_IN_LEDGER, AMOUNT_DIFFERS = "only_on_statement", "only_in_ledger", "amount_differs"
"""The kinds of these breaks."""

Execute = Callable[[str, Mapping[str, Any]], Any]
"""A connection's way to run a statement of the driver: `execute`, or `exec_driver_sql` of SQLAlchemy."""

_WITHOUT_BREAK = """
    SELECT u.unmatched_item_id, u.statement_line_id, u.entry_number, u.booked_on, u.amount_minor, u.other_minor,
        u.reason, u.resembles, coalesce(nullif(l.reference, ''), l.text, ''), l.statement_id
    FROM public.unmatched_item u LEFT JOIN public.statement_line l ON l.statement_line_id = u.statement_line_id
    WHERE u.is_open AND u.break_id IS NULL AND u.statement_account_id = %(id)s
    ORDER BY u.booked_on, u.unmatched_item_id LIMIT %(limit)s
"""
_NAME = "UPDATE public.unmatched_item SET break_id = %(break_id)s WHERE unmatched_item_id = %(item)s"
_OF_ITEMS = """
    SELECT k.kind, k.subject FROM public.unmatched_item u
    JOIN public.reconciliation_break k ON k.break_id = u.break_id AND k.state IN ('open', 'investigating')
    WHERE u.unmatched_item_id = ANY(%(items)s)
"""


def open_breaks(execute: Execute, account: StatementAccount, actor: str) -> int:
    """Open the breaks of what has none yet, the oldest first; returns how many."""
    named = {"id": account.statement_account_id, "limit": MOST_OPENED}
    rows = execute(_WITHOUT_BREAK, named).fetchall()
    for row in rows:
        break_id, _ = open_break(execute, _found(account, row), actor, f"found by matching: {row[6].replace('_', ' ')}")
        execute(_NAME, {"break_id": break_id, "item": row[0]})
    return len(rows)


def settle_breaks(execute: Execute, item_ids: Sequence[int], actor: str, note: str, reason_code: ReasonCode) -> None:
    """Settle the breaks of items that are settled."""
    if not item_ids:
        return
    for kind, subject in execute(_OF_ITEMS, {"items": list(item_ids)}).fetchall():
        settle_break(execute, kind, subject, actor, note, reason_code=reason_code)


def _found(account: StatementAccount, row: Sequence[Any]) -> FoundBreak:
    _, line_id, entry_number, booked_on, amount_minor, other_minor, reason, resembles, text, statement_id = row
    evidence = [EvidenceLink(EvidenceKind.ACCOUNT, account.account_id)]
    figures = {"suggested_reason": reason, "booked_on": booked_on.isoformat(), "source": account.source_name}
    figures |= {name: value for name, value in (("text", text), ("resembles", resembles)) if value}
    if entry_number is not None:
        evidence.append(EvidenceLink(EvidenceKind.ENTRY, f"{account.account_id}#{entry_number}"))
    if line_id is not None:
        evidence.append(EvidenceLink(EvidenceKind.STATEMENT, str(statement_id)))
        evidence.append(EvidenceLink(EvidenceKind.STATEMENT_LINE, str(line_id)))
    return FoundBreak(
        source=BreakSource.OUTSIDE,
        kind=_kind(line_id, reason),
        subject=f"{account.account_id}#{entry_number}" if line_id is None else f"{account.source_name}/{line_id}",
        figures=figures,
        account_id=account.account_id,
        ledger_minor=amount_minor if line_id is None else other_minor,
        other_minor=None if line_id is None else amount_minor,
        evidence=evidence,
    )


def _kind(line_id: int | None, reason: str) -> str:
    if line_id is None:
        return ONLY_IN_LEDGER
    return AMOUNT_DIFFERS if reason == Reason.AMOUNT_DIFFERS else ONLY_ON_STATEMENT
