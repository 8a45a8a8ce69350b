"""Lines and entries without a match: kept with a suggested reason, and settled once they have one.

All of it is set-based, for a first run may leave hundred thousands. What is kept has a break, up to a bound, in which
people say who looks after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import psycopg

from app.domain.break_workflow import ReasonCode
from app.domain.match_reasons import Unmatched
from app.domain.match_records import RunReport, StatementAccount
from app.ledger.unmatched_breaks import Execute, open_breaks, settle_breaks

ENTRY_TWIN_DAYS = 1
"""An entry that stands twice is sent twice by somebody, within a day."""

_SETTLE = """
    UPDATE public.unmatched_item u SET is_open = false, settled_at = clock_timestamp()
    WHERE u.is_open AND u.statement_account_id = %(id)s AND (
        EXISTS (SELECT FROM public.match_line l WHERE l.is_live AND l.statement_line_id = u.statement_line_id)
        OR EXISTS (SELECT FROM public.match_entry e
            WHERE e.is_live AND e.account_id = %(account_id)s AND e.entry_number = u.entry_number))
    RETURNING u.unmatched_item_id
"""
_FOUND = """
    CREATE TEMPORARY TABLE found_item (
        statement_line_id bigint, entry_number bigint, booked_on date, amount_minor bigint, other_minor bigint,
        reason text, resembles text
    ) ON COMMIT DROP
"""
# What no rule has taken, in the days that statements cover. A twin is an entry of the same amount with the same account
# on the other side, the day before or after. Joins in place of subqueries: a subquery in a CASE runs for each row.
_ENTRIES = """
    INSERT INTO pg_temp.found_item (entry_number, booked_on, amount_minor, reason, resembles)
    WITH left_over AS (
        SELECT s.* FROM pg_temp.staged_entry s
        WHERE s.is_open AND s.day BETWEEN %(starts_on)s AND %(covered_through)s
            AND NOT EXISTS (SELECT FROM pg_temp.taken_entry t WHERE t.entry_number = s.entry_number)
            AND NOT EXISTS (SELECT FROM pg_temp.found_item f WHERE f.entry_number = s.entry_number)
    ), countered AS (
        SELECT s.entry_number, s.amount_minor, s.day, min(o.account_id) AS counter
        FROM pg_temp.staged_entry s
        JOIN public.entry o ON o.partition = s.partition AND o.chain_seq = s.chain_seq
            AND o.account_id <> %(account_id)s
        WHERE s.amount_minor IN (SELECT amount_minor FROM left_over)
        GROUP BY s.entry_number, s.amount_minor, s.day
    ), placed AS (
        SELECT c.entry_number, c.day - lag(c.day) OVER w AS since_former, lead(c.day) OVER w - c.day AS until_next,
            lag(c.entry_number) OVER w AS former, lead(c.entry_number) OVER w AS next
        FROM countered c WINDOW w AS (PARTITION BY c.counter, c.amount_minor ORDER BY c.day, c.entry_number)
    )
    SELECT l.entry_number, l.day, l.amount_minor,
        CASE WHEN p.since_former <= %(twin_days)s OR (p.until_next <= %(twin_days)s AND n.entry_number IS NULL)
                THEN 'duplicate'
            WHEN l.kind IN ('reversal', 'refund') OR r.relates_to IS NOT NULL THEN 'reversed'
            WHEN l.day > %(late)s THEN 'timing' ELSE 'missing_there' END,
        CASE WHEN p.since_former <= %(twin_days)s THEN 'entry ' || p.former
            WHEN l.kind IN ('reversal', 'refund') THEN coalesce(l.relates_to, '') ELSE '' END
    FROM left_over l
    LEFT JOIN placed p ON p.entry_number = l.entry_number
    LEFT JOIN left_over n ON n.entry_number = p.next
    LEFT JOIN (SELECT DISTINCT relates_to FROM left_over WHERE kind IN ('reversal', 'refund')) r
        ON r.relates_to = l.payment_id
"""
_GIVE_WAY = """
    UPDATE public.unmatched_item u SET is_open = false, settled_at = clock_timestamp()
    FROM pg_temp.found_item f
    WHERE u.is_open AND u.statement_account_id = %(id)s AND u.statement_line_id IS NULL
        AND f.statement_line_id IS NOT NULL AND f.entry_number = u.entry_number
    RETURNING u.unmatched_item_id
"""
# Lines and entries apart: joined on either at once, each row would be compared with every other.
_SAME_LINE = "u.statement_line_id = f.statement_line_id"
_SAME_ENTRY = "f.statement_line_id IS NULL AND u.statement_line_id IS NULL AND u.entry_number = f.entry_number"
_CHANGE = """
    UPDATE public.unmatched_item u
    SET entry_number = f.entry_number, other_minor = f.other_minor, reason = f.reason, resembles = f.resembles
    FROM pg_temp.found_item f
    WHERE u.is_open AND u.statement_account_id = %(id)s AND {same}
        AND (u.entry_number, u.reason, u.resembles) IS DISTINCT FROM (f.entry_number, f.reason, f.resembles)
"""
_ADD = """
    INSERT INTO public.unmatched_item (statement_account_id, statement_line_id, entry_number, booked_on, amount_minor,
        other_minor, reason, resembles)
    SELECT %(id)s, f.statement_line_id, f.entry_number, f.booked_on, f.amount_minor, f.other_minor, f.reason,
        f.resembles
    FROM pg_temp.found_item f
    LEFT JOIN public.unmatched_item u ON u.is_open AND u.statement_account_id = %(id)s AND {same}
    WHERE u.unmatched_item_id IS NULL AND (f.statement_line_id IS NULL) = {is_entry}
    ORDER BY f.booked_on, f.statement_line_id, f.entry_number
"""
_BOTH = ({"same": _SAME_LINE, "is_entry": "false"}, {"same": _SAME_ENTRY, "is_entry": "true"})
_OPEN = """
    SELECT reason, count(*) FROM public.unmatched_item WHERE is_open AND statement_account_id = %(id)s
    GROUP BY reason ORDER BY reason
"""


def settle_matched(execute: Execute, account: StatementAccount, actor: str) -> int:
    """Settle what has a match now, with its break; returns how many items."""
    values = {"id": account.statement_account_id, "account_id": account.account_id}
    settled = [row[0] for row in execute(_SETTLE, values).fetchall()]
    settle_breaks(execute, settled, actor, "matched", ReasonCode.MATCHED)
    return len(settled)


_REOPEN = """
    INSERT INTO public.unmatched_item (statement_account_id, statement_line_id, entry_number, booked_on, amount_minor,
        reason, resembles)
    SELECT %(id)s, m.statement_line_id, NULL, l.booked_on, l.amount_minor, 'missing_here', ''
    FROM public.match_line m JOIN public.statement_line l ON l.statement_line_id = m.statement_line_id
    WHERE m.match_id = %(match_id)s
    UNION ALL
    SELECT %(id)s, NULL, m.entry_number, (t.effective_at AT TIME ZONE 'UTC')::date, e.amount_minor, 'missing_there', ''
    FROM public.match_entry m
    JOIN public.entry e ON e.account_id = m.account_id AND e.entry_number = m.entry_number
    JOIN public.ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE m.match_id = %(match_id)s
"""


def reopen_items(execute: Execute, account: StatementAccount, match_id: int, actor: str) -> None:
    """Keep the lines and entries of a match that was undone as unmatched; the next run looks for better reasons."""
    execute(_REOPEN, {"id": account.statement_account_id, "match_id": match_id})
    open_breaks(execute, account, actor)


def write_unmatched(
    connection: psycopg.Connection[Any],
    account: StatementAccount,
    unmatched: Sequence[Unmatched],
    covered_through: date | None,
    timing_days: int,
    actor: str,
    report: RunReport,
) -> None:
    """Bring what is kept as unmatched up to date, in the transaction of a run; the report counts it."""
    late = (covered_through or account.starts_on) - timedelta(days=timing_days)
    values = {
        "id": account.statement_account_id,
        "account_id": account.account_id,
        "starts_on": account.starts_on,
        "covered_through": covered_through or account.starts_on - timedelta(days=1),
        "twin_days": ENTRY_TWIN_DAYS,
        "late": late,
    }
    report.resolved_breaks = settle_matched(connection.execute, account, actor)
    connection.execute(_FOUND)
    with connection.cursor() as cursor, cursor.copy("COPY pg_temp.found_item FROM STDIN") as copy:
        for one in unmatched:
            copy.write_row(_found_row(one))
    connection.execute("ANALYZE pg_temp.found_item")
    connection.execute(_ENTRIES, values)
    connection.execute("ANALYZE pg_temp.found_item")
    gone = [row[0] for row in connection.execute(_GIVE_WAY, values)]
    settle_breaks(connection.execute, gone, actor, "one break with its line", ReasonCode.WRONG_AMOUNT)
    report.resolved_breaks += len(gone)
    for same in _BOTH:
        connection.execute(_CHANGE.format(**same), values)
    report.new_breaks = sum(connection.execute(_ADD.format(**same), values).rowcount for same in _BOTH)
    open_breaks(connection.execute, account, actor)
    report.open_breaks = {reason: int(number) for reason, number in connection.execute(_OPEN, values)}


def _found_row(one: Unmatched) -> tuple[object, ...]:
    line, entry = one.line, one.entry
    first = line if line is not None else entry
    assert first is not None
    return (
        None if line is None else line.statement_line_id,
        None if entry is None else entry.entry_number,
        first.day,
        first.amount_minor,
        None if entry is None or line is None else entry.amount_minor,
        one.reason.value,
        one.like,
    )
