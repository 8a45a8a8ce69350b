"""What bank and ledger say of a period, read at one moment: balances, movements by day, and what is outstanding."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.match_records import StatementAccount
from app.domain.sign_off import MOST_OUTSTANDING, DayFigures, Opening, Outstanding, PeriodFigures, SignOff
from app.ledger.statement_accounts import minor_units_of

_OF = "(source_name, account_ref, currency_code) = (%(source_name)s, %(account_ref)s, %(currency_code)s)"
_OPENING = f"""
    SELECT coalesce(first_on, opening_on), opening_minor FROM statement
    WHERE {_OF} AND opening_minor IS NOT NULL AND coalesce(first_on, opening_on) IS NOT NULL
    ORDER BY coalesce(first_on, opening_on), statement_id LIMIT 1
"""  # noqa: S608 - columns of ours
_CLOSING = f"""
    SELECT coalesce(closing_on, last_on), closing_minor FROM statement
    WHERE {_OF} AND closing_minor IS NOT NULL AND coalesce(closing_on, last_on) IS NOT NULL
    ORDER BY coalesce(closing_on, last_on), statement_id LIMIT 1
"""  # noqa: S608 - columns of ours
_STATED = f"""
    SELECT DISTINCT ON (day) day, closing_minor FROM (
        SELECT coalesce(closing_on, last_on) AS day, closing_minor, statement_id FROM statement
        WHERE {_OF} AND closing_minor IS NOT NULL) s
    WHERE day BETWEEN %(first_on)s AND %(last_on)s ORDER BY day, statement_id DESC
"""  # noqa: S608 - columns of ours
_COVERED = f"SELECT max(greatest(last_on, closing_on)) FROM statement WHERE {_OF}"  # noqa: S608 - columns of ours
_LINES_BEFORE = f"""
    SELECT coalesce(sum(amount_minor), 0) FROM statement_line WHERE {_OF} AND booked_on < %(day)s
"""  # noqa: S608 - columns of ours
_LINE_DAYS = f"""
    SELECT booked_on, coalesce(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0),
        coalesce(sum(amount_minor) FILTER (WHERE amount_minor < 0), 0), count(*)
    FROM statement_line WHERE {_OF} AND booked_on BETWEEN %(first_on)s AND %(last_on)s GROUP BY 1
"""  # noqa: S608 - columns of ours
_ENTRIES_BEFORE = """
    SELECT coalesce(sum(e.amount_minor), 0) FROM entry e
    JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE e.account_id = %(account_id)s AND (t.effective_at AT TIME ZONE 'UTC')::date < %(day)s
"""
_ENTRY_DAYS = """
    SELECT (t.effective_at AT TIME ZONE 'UTC')::date,
        coalesce(sum(e.amount_minor) FILTER (WHERE e.amount_minor > 0), 0),
        coalesce(sum(e.amount_minor) FILTER (WHERE e.amount_minor < 0), 0), count(*)
    FROM entry e JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE e.account_id = %(account_id)s
        AND (t.effective_at AT TIME ZONE 'UTC')::date BETWEEN %(first_on)s AND %(last_on)s GROUP BY 1
"""
_ONLY_BANK = f"""
    SELECT l.statement_line_id AS id, l.booked_on AS day, l.amount_minor,
        coalesce(nullif(l.reference, ''), nullif(l.text, ''), l.kind) AS text,
        coalesce(u.reason, 'timing') AS reason, coalesce(k.state, 'open') AS state, k.owner, m.settled_on,
        coalesce(m.state, '') AS match_state
    FROM (SELECT * FROM statement_line WHERE {_OF} AND booked_on BETWEEN %(starts_on)s AND %(last_on)s
        AND amount_minor <> 0) l
    LEFT JOIN (SELECT p.statement_line_id, s.settled_on, s.state FROM match_line p
        JOIN statement_match s ON s.match_id = p.match_id WHERE p.is_live) m
        ON m.statement_line_id = l.statement_line_id
    LEFT JOIN unmatched_item u ON u.is_open AND u.statement_line_id = l.statement_line_id
    LEFT JOIN reconciliation_break k ON k.break_id = u.break_id
    WHERE NOT coalesce(m.state = 'matched' AND m.settled_on <= %(last_on)s, false)
"""  # noqa: S608 - columns of ours
_ONLY_LEDGER = """
    SELECT e.entry_number AS id, e.day, e.amount_minor, e.external_id AS text,
        coalesce(u.reason, 'timing') AS reason, coalesce(k.state, 'open') AS state, k.owner, m.settled_on,
        coalesce(m.state, '') AS match_state
    FROM (SELECT e.account_id, e.entry_number, e.amount_minor, (t.effective_at AT TIME ZONE 'UTC')::date AS day,
            t.external_id
        FROM entry e JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
        WHERE e.account_id = %(account_id)s) e
    LEFT JOIN (SELECT p.account_id, p.entry_number, s.settled_on, s.state FROM match_entry p
        JOIN statement_match s ON s.match_id = p.match_id WHERE p.is_live) m
        ON m.account_id = e.account_id AND m.entry_number = e.entry_number
    LEFT JOIN unmatched_item u ON u.is_open AND u.statement_account_id = %(id)s AND u.entry_number = e.entry_number
    LEFT JOIN reconciliation_break k ON k.break_id = u.break_id
    WHERE e.day BETWEEN %(starts_on)s AND %(last_on)s
        AND NOT coalesce(m.state = 'matched' AND m.settled_on <= %(last_on)s, false)
"""
_MATCHED = """
    SELECT coalesce(sum(lines_minor - entries_minor), 0) FROM statement_match
    WHERE statement_account_id = %(id)s AND state = 'matched' AND settled_on <= %(last_on)s
"""
_CLEARED = """
    SELECT coalesce(sum(e.amount_minor), 0) FROM statement_match m
    JOIN match_entry p ON p.match_id = m.match_id AND p.is_live
    JOIN entry e ON e.account_id = p.account_id AND e.entry_number = p.entry_number
    JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE m.statement_account_id = %(id)s AND m.state = 'matched' AND m.settled_on <= %(last_on)s
        AND (t.effective_at AT TIME ZONE 'UTC')::date < %(starts_on)s
"""
_SUGGESTED = """
    SELECT count(*) FROM statement_match
    WHERE statement_account_id = %(id)s AND state = 'suggested' AND settled_on <= %(last_on)s
"""


class _Reader:
    """Reads figures of one account and period."""

    def __init__(self, connection: Connection, account: StatementAccount, first_on: date, last_on: date) -> None:
        self._connection = connection
        self.named = {
            "id": account.statement_account_id,
            "source_name": account.source_name,
            "account_ref": account.account_ref,
            "currency_code": account.currency_code,
            "account_id": account.account_id,
            "starts_on": account.starts_on,
            "first_on": first_on,
            "last_on": last_on,
        }

    def rows(self, query: str) -> list[Any]:
        return list(self._connection.exec_driver_sql(query, self.named).all())

    def one(self, query: str) -> Any:
        return self._connection.exec_driver_sql(query, self.named).scalar_one()

    def before(self, query: str, day: date) -> int:
        """What moved before a day."""
        return int(self._connection.exec_driver_sql(query, {**self.named, "day": day}).scalar_one())


def read_figures(
    connection: Connection, account: StatementAccount, first_on: date, last_on: date, former: SignOff | None
) -> PeriodFigures:
    """The figures of a period; `former` is the signed period before it."""
    reader = _Reader(connection, account, first_on, last_on)
    ledger_opening = reader.before(_ENTRIES_BEFORE, first_on)
    opening, offset = _bank_offset(reader, first_on, ledger_opening)
    bank_start = offset + reader.before(_LINES_BEFORE, account.starts_on)
    ledger_start = reader.before(_ENTRIES_BEFORE, account.starts_on)
    only_bank, bank_count, bank_minor = _outstanding(reader, "statement", _ONLY_BANK)
    only_ledger, ledger_count, ledger_minor = _outstanding(reader, "ledger", _ONLY_LEDGER)
    signed = None if former is None else former.figures()
    return PeriodFigures(
        first_on=first_on,
        last_on=last_on,
        currency_code=account.currency_code,
        minor_units=minor_units_of(connection, account),
        opening=opening,
        bank_opening_minor=offset + reader.before(_LINES_BEFORE, first_on),
        ledger_opening_minor=ledger_opening,
        days=_days(reader),
        only_bank_count=bank_count,
        only_bank_minor=bank_minor,
        only_ledger_count=ledger_count,
        only_ledger_minor=ledger_minor,
        match_difference_minor=int(reader.one(_MATCHED)),
        brought_forward_minor=bank_start - ledger_start + int(reader.one(_CLEARED)),
        suggestion_count=reader.one(_SUGGESTED),
        covered_through=reader.one(_COVERED),
        signed_through=account.signed_through,
        former_bank_closing_minor=None if signed is None else signed["bank_closing_minor"],
        former_ledger_closing_minor=None if signed is None else signed["ledger_closing_minor"],
        outstanding=[*only_bank, *only_ledger],
    )


def covered_through(connection: Connection, account: StatementAccount) -> date | None:
    """The last day that statements of an account tell of."""
    found: date | None = _Reader(connection, account, date.min, date.max).one(_COVERED)
    return found


def _bank_offset(reader: _Reader, first_on: date, ledger_opening: int) -> tuple[Opening, int]:
    """What the bank's balance was before its first line, and where that comes from."""
    for day, opening_minor in reader.rows(_OPENING):
        return Opening.STATED, opening_minor - reader.before(_LINES_BEFORE, day)
    for day, closing_minor in reader.rows(_CLOSING):
        return Opening.DERIVED, closing_minor - reader.before(_LINES_BEFORE, day + timedelta(days=1))
    return Opening.ASSUMED, ledger_opening - reader.before(_LINES_BEFORE, first_on)


def _days(reader: _Reader) -> list[DayFigures]:
    lines = {day: (int(into), int(out), count) for day, into, out, count in reader.rows(_LINE_DAYS)}
    entries = {day: (int(into), int(out), count) for day, into, out, count in reader.rows(_ENTRY_DAYS)}
    stated = dict(tuple(row) for row in reader.rows(_STATED))
    nothing = (0, 0, 0)
    return [
        DayFigures(day, *lines.get(day, nothing), *entries.get(day, nothing), stated.get(day))
        for day in sorted({*lines, *entries, *stated})
    ]


def _outstanding(reader: _Reader, side: str, query: str) -> tuple[list[Outstanding], int, int]:
    """Up to so many of them, and number and sum of all."""
    total = f"SELECT count(*), coalesce(sum(amount_minor), 0) FROM ({query}) o"  # noqa: S608 - a query of ours
    [(count, amount_minor)] = reader.rows(total)
    rows = reader.rows(f"{query} ORDER BY day, id LIMIT {MOST_OUTSTANDING}")
    found = []
    for id, day, amount, text, reason, break_state, owner, settled_on, match_state in rows:
        later = settled_on if match_state == "matched" else None
        state = match_state if match_state == "suggested" else break_state
        found.append(Outstanding(side, str(id), day, amount, text, reason, state, owner, later))
    return found, count, int(amount_minor)
