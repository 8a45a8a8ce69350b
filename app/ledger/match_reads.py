"""Reading matches, and what has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine

from app.domain.match_items import OpenEntry, OpenLine
from app.domain.match_records import (
    MatchEvent,
    MatchRecord,
    MatchRun,
    MatchState,
    OutsideState,
    StatementAccount,
    UnmatchedItem,
)
from app.ledger.connections import translated

_LINE = """
    l.statement_line_id, l.amount_minor, l.booked_on, coalesce(l.line_id, ''), l.reference, coalesce(b.batch_id, ''),
    l.kind, l.counterparty, l.text, l.details
"""
_ENTRY = """
    e.entry_number, e.amount_minor, (t.effective_at AT TIME ZONE 'UTC')::date, t.external_id, t.payment_id,
    coalesce(t.description, '')
"""
_MATCH = """
    SELECT match_id, statement_account_id, rule, figures, lines_minor, entries_minor, settled_on, state,
        former_match_id, journal_id, made_by, made_at
    FROM statement_match
"""
_LINES_OF = f"""
    SELECT m.match_id, {_LINE} FROM match_line m
    JOIN statement_line l ON l.statement_line_id = m.statement_line_id
    LEFT JOIN statement_batch b ON b.statement_line_id = l.statement_line_id
    WHERE m.match_id = ANY(%(ids)s) ORDER BY l.booked_on, l.statement_line_id
"""  # noqa: S608 - columns of ours
_ENTRIES_OF = f"""
    SELECT m.match_id, {_ENTRY} FROM match_entry m
    JOIN entry e ON e.account_id = m.account_id AND e.entry_number = m.entry_number
    JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE m.match_id = ANY(%(ids)s) ORDER BY (t.effective_at AT TIME ZONE 'UTC')::date, e.entry_number
"""  # noqa: S608 - columns of ours
_ITEMS = f"""
    SELECT u.unmatched_item_id, u.statement_account_id, u.reason, u.booked_on, u.amount_minor, u.other_minor,
        u.resembles, u.first_seen_at, u.break_id, k.state, k.owner, {_LINE}, {_ENTRY}
    FROM unmatched_item u
    JOIN LATERAL (SELECT s.account_id FROM matching_setup s WHERE s.statement_account_id = u.statement_account_id
        ORDER BY s.version DESC LIMIT 1) s ON true
    LEFT JOIN reconciliation_break k ON k.break_id = u.break_id
    LEFT JOIN statement_line l ON l.statement_line_id = u.statement_line_id
    LEFT JOIN statement_batch b ON b.statement_line_id = l.statement_line_id
    LEFT JOIN entry e ON e.account_id = s.account_id AND e.entry_number = u.entry_number
    LEFT JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE u.is_open AND u.statement_account_id = %(id)s AND u.unmatched_item_id > %(after)s
        AND (%(through)s::date IS NULL OR u.booked_on <= %(through)s::date)
        AND (%(of_lines)s::boolean IS NULL OR (u.statement_line_id IS NOT NULL) = %(of_lines)s::boolean)
    ORDER BY u.unmatched_item_id LIMIT %(limit)s
"""  # noqa: S608 - columns of ours
_RUN = """
    SELECT match_run_id, version, line_count, entry_count, matched_count, suggested_count, covered_through, run_by,
        run_at
    FROM match_run WHERE statement_account_id = %(id)s ORDER BY match_run_id DESC LIMIT 1
"""
_LINES_WIDTH, _ITEM_WIDTH = 10, 11


class LedgerMatchReads:
    """What the ledger says of matches."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def match(self, match_id: int) -> MatchRecord | None:
        """One match with its lines and entries; None if there is none."""
        found = self._matches(f"{_MATCH} WHERE match_id = %(match_id)s", {"match_id": match_id})
        return found[0] if found else None

    def matches(
        self,
        statement_account_id: int,
        *,
        state: MatchState | None = None,
        first_on: date | None = None,
        last_on: date | None = None,
        limit: int,
        after: int = 0,
        newest_first: bool = False,
    ) -> list[MatchRecord]:
        """Up to `limit` matches in the order in which they were made, after one; days are those of `settled_on`."""
        query = f"""{_MATCH} WHERE statement_account_id = %(id)s AND match_id > %(after)s
            AND (%(state)s::text IS NULL OR state = %(state)s::text)
            AND settled_on BETWEEN %(first_on)s AND %(last_on)s
            ORDER BY match_id {"DESC" if newest_first else ""} LIMIT %(limit)s"""
        named = {
            "id": statement_account_id,
            "after": after,
            "state": None if state is None else state.value,
            "first_on": first_on or date.min,
            "last_on": last_on or date.max,
            "limit": limit,
        }
        return self._matches(query, named)

    def _matches(self, query: str, named: Mapping[str, Any]) -> list[MatchRecord]:
        with translated(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(query, dict(named)).all()
            ids = [row[0] for row in rows]
            lines = _by_match(connection, _LINES_OF, ids)
            entries = _by_match(connection, _ENTRIES_OF, ids)
        return [
            replace(
                _record(row),
                lines=[OpenLine(*part) for part in lines.get(row[0], ())],
                entries=[OpenEntry(*part) for part in entries.get(row[0], ())],
            )
            for row in rows
        ]

    def of_lines(self, line_ids: Sequence[int]) -> dict[int, tuple[int, str, str]]:
        """The match of each of these lines that has one: its id, its rule and its state."""
        query = """
            SELECT l.statement_line_id, m.match_id, m.rule, m.state FROM match_line l
            JOIN statement_match m ON m.match_id = l.match_id
            WHERE l.is_live AND l.statement_line_id = ANY(%(ids)s)
        """
        with translated(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(query, {"ids": list(line_ids)}).all()
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def entry_of(self, account_id: str, external_id: str) -> tuple[str, int] | None:
        """The journal that is posted under an external id, and its entry on an account; None if there is none."""
        query = """
            SELECT t.payment_id, e.entry_number FROM account a
            JOIN ledger_transaction t ON t.entity_id = a.entity_id AND t.external_id = %(external_id)s
            JOIN entry e ON e.partition = t.partition AND e.chain_seq = t.chain_seq AND e.account_id = a.account_id
            WHERE a.account_id = %(account_id)s
        """
        named = {"account_id": account_id, "external_id": external_id}
        with translated(), self._engine.connect() as connection:
            row = connection.exec_driver_sql(query, named).first()
        return None if row is None else (row[0], row[1])

    def events(self, match_id: int) -> list[MatchEvent]:
        """What people have decided on a match, in order."""
        query = """
            SELECT action, actor, reason, recorded_at FROM match_event WHERE match_id = %(match_id)s
            ORDER BY match_event_id
        """
        with translated(), self._engine.connect() as connection:
            return [MatchEvent(*row) for row in connection.exec_driver_sql(query, {"match_id": match_id})]

    def unmatched(
        self,
        statement_account_id: int,
        *,
        of_lines: bool | None = None,
        through: date | None = None,
        limit: int,
        after: int = 0,
    ) -> list[UnmatchedItem]:
        """Up to `limit` lines or entries without a match, in the order in which they were seen, after one.

        `of_lines`: those on the statement only, or those in the ledger only.
        """
        named = {
            "id": statement_account_id,
            "of_lines": of_lines,
            "through": through,
            "limit": limit,
            "after": after,
        }
        with translated(), self._engine.connect() as connection:
            return [_item(row) for row in connection.exec_driver_sql(_ITEMS, named)]

    def last_run(self, account: StatementAccount) -> MatchRun | None:
        """The last run over an account; None before the first."""
        with translated(), self._engine.connect() as connection:
            row = connection.exec_driver_sql(_RUN, {"id": account.statement_account_id}).first()
        return None if row is None else MatchRun(*row)

    def counts(self, statement_account_id: int) -> tuple[int, int, int, int]:
        """How many matches and suggestions stand, and how many lines and entries have none."""
        query = """
            SELECT (SELECT count(*) FROM statement_match WHERE statement_account_id = %(id)s AND state = 'matched'),
                (SELECT count(*) FROM statement_match WHERE statement_account_id = %(id)s AND state = 'suggested'),
                (SELECT count(*) FROM unmatched_item
                    WHERE is_open AND statement_account_id = %(id)s AND statement_line_id IS NOT NULL),
                (SELECT count(*) FROM unmatched_item
                    WHERE is_open AND statement_account_id = %(id)s AND entry_number IS NOT NULL)
        """
        with translated(), self._engine.connect() as connection:
            row = connection.exec_driver_sql(query, {"id": statement_account_id}).one()
        return row[0], row[1], row[2], row[3]

    def undecided(self, statement_account_id: int) -> int:
        """How much waits for people: suggestions, and what has no match and nobody has accepted."""
        query = """
            SELECT (SELECT count(*) FROM statement_match WHERE statement_account_id = %(id)s AND state = 'suggested')
                + (SELECT count(*) FROM unmatched_item u
                    LEFT JOIN reconciliation_break k ON k.break_id = u.break_id
                    WHERE u.is_open AND u.statement_account_id = %(id)s AND coalesce(k.state, '') <> 'accepted')
        """
        with translated(), self._engine.connect() as connection:
            return int(connection.exec_driver_sql(query, {"id": statement_account_id}).scalar_one())


def _by_match(connection: Connection, query: str, ids: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
    parts: dict[int, list[tuple[Any, ...]]] = {}
    for match_id, *part in connection.exec_driver_sql(query, {"ids": list(ids)}):
        parts.setdefault(match_id, []).append(tuple(part))
    return parts


def _record(row: Any) -> MatchRecord:
    return MatchRecord(
        match_id=row[0],
        statement_account_id=row[1],
        rule=row[2],
        figures=row[3],
        lines_minor=int(row[4]),
        entries_minor=int(row[5]),
        settled_on=row[6],
        state=MatchState(row[7]),
        former_match_id=row[8],
        journal_id=row[9],
        made_by=row[10],
        made_at=row[11],
    )


def _item(row: Any) -> UnmatchedItem:
    line, entry = row[_ITEM_WIDTH : _ITEM_WIDTH + _LINES_WIDTH], row[_ITEM_WIDTH + _LINES_WIDTH :]
    return UnmatchedItem(
        unmatched_item_id=row[0],
        statement_account_id=row[1],
        reason=row[2],
        booked_on=row[3],
        amount_minor=row[4],
        other_minor=row[5],
        resembles=row[6],
        first_seen_at=row[7],
        break_id=row[8],
        state=OutsideState(row[9] or OutsideState.OPEN.value),
        owner=row[10],
        line=None if line[0] is None else OpenLine(*line),
        entry=None if entry[0] is None else OpenEntry(*entry),
    )
