"""What people decide on matches: make one, confirm a suggestion, undo one, or keep a part of it.

Each decision is one transaction with its event and its audit record. Decisions and runs on one account wait for each
other, and what lies within a signed period stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from app.domain.audit import Action
from app.domain.match_records import MatchState, NewMatch, StatementAccount
from app.domain.match_refusals import (
    match_differs,
    match_not_found,
    not_open,
    nothing_to_match,
    period_signed_off,
    statement_account_not_found,
    wrong_state,
)
from app.domain.origin import note_recorded
from app.domain.refusals import Refusal
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.statement_accounts import locked_statement_account, minor_units_of
from app.ledger.unmatched_items import reopen_items, settle_matched

_LINES = """
    SELECT l.statement_line_id, l.amount_minor, l.booked_on FROM statement_line l
    JOIN statement_account a USING (source_name, account_ref, currency_code)
    WHERE a.statement_account_id = %(id)s AND l.statement_line_id = ANY(%(ids)s) AND NOT EXISTS (
        SELECT FROM match_line m WHERE m.statement_line_id = l.statement_line_id AND m.is_live)
"""
_ENTRIES = """
    SELECT e.entry_number, e.amount_minor, (t.effective_at AT TIME ZONE 'UTC')::date FROM entry e
    JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE e.account_id = %(account_id)s AND e.entry_number = ANY(%(ids)s) AND NOT EXISTS (
        SELECT FROM match_entry m WHERE m.account_id = e.account_id AND m.entry_number = e.entry_number AND m.is_live)
"""
_INSERT = """
    INSERT INTO statement_match (statement_account_id, rule, figures, lines_minor, entries_minor, settled_on, state,
        former_match_id, journal_id, made_by)
    VALUES (%(id)s, %(rule)s, %(figures)s, %(lines_minor)s, %(entries_minor)s, %(settled_on)s, 'matched',
        %(former)s, %(journal_id)s, %(actor)s) RETURNING match_id
"""
_PARTS = (
    "INSERT INTO match_line (match_id, statement_line_id) SELECT %(match_id)s, unnest(%(lines)s::bigint[])",
    "INSERT INTO match_entry (match_id, account_id, entry_number)"
    " SELECT %(match_id)s, %(account_id)s, unnest(%(entries)s::bigint[])",
)
_EVENT = """
    INSERT INTO match_event (match_id, action, actor, reason) VALUES (%(match_id)s, %(action)s, %(actor)s, %(reason)s)
"""
_FREE = (
    "UPDATE match_line SET is_live = false WHERE match_id = %(match_id)s AND is_live",
    "UPDATE match_entry SET is_live = false WHERE match_id = %(match_id)s AND is_live",
)

Part = tuple[int, int, date]
"""An id, an amount in minor units, and a day."""


class LedgerMatches:
    """Keeps what people decide on matches."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def make(self, wanted: NewMatch, actor: str, *, accepts_difference: bool = False) -> int | Refusal:
        """Match lines and entries; returns the id of the match."""
        with translated(), self._engine.begin() as connection:
            outcome = _make(connection, wanted, actor, accepts_difference=accepts_difference)
        if isinstance(outcome, int):
            note_recorded()
        return outcome

    def open_sides(self, wanted: NewMatch) -> tuple[int, date] | Refusal:
        """By how much the lines exceed the entries, in minor units, and their last day; refused if one is not open."""
        with translated(), self._engine.begin() as connection:
            sides = _sides(connection, wanted)
        if isinstance(sides, Refusal):
            return sides
        _, lines, entries = sides
        if not lines and not entries:
            return nothing_to_match()
        return _sum(lines) - _sum(entries), max(day for _, _, day in (*lines, *entries))

    def confirm(self, match_id: int, reason: str, actor: str) -> Refusal | None:
        """Make a match of a suggestion."""
        return self._decide(match_id, MatchState.MATCHED, reason, actor)

    def undo(self, match_id: int, reason: str, actor: str) -> Refusal | None:
        """Undo a match or a suggestion: its lines and entries are free again."""
        return self._decide(match_id, MatchState.UNDONE, reason, actor)

    def replace(
        self, match_id: int, wanted: NewMatch, actor: str, *, accepts_difference: bool = False
    ) -> int | Refusal:
        """Undo a match and make another one of it, such as a part of it, or it with a journal; all or nothing."""
        outcome: int | Refusal
        with translated(), self._engine.connect() as connection, connection.begin() as transaction:
            refusal = _change(connection, match_id, MatchState.UNDONE, wanted.reason, actor)
            outcome = refusal or _make(connection, wanted, actor, accepts_difference=accepts_difference)
            if isinstance(outcome, Refusal):
                transaction.rollback()
        if isinstance(outcome, int):
            note_recorded()
        return outcome

    def _decide(self, match_id: int, state: MatchState, reason: str, actor: str) -> Refusal | None:
        with translated(), self._engine.begin() as connection:
            refusal = _change(connection, match_id, state, reason, actor)
        if refusal is None:
            note_recorded()
        return refusal


def _make(connection: Connection, wanted: NewMatch, actor: str, *, accepts_difference: bool) -> int | Refusal:
    sides = _sides(connection, wanted)
    if isinstance(sides, Refusal):
        return sides
    refusal = _refuse(connection, *sides, accepts_difference=accepts_difference)
    return refusal or _insert(connection, sides[0], wanted, sides[1], sides[2], actor)


def _sides(connection: Connection, wanted: NewMatch) -> tuple[StatementAccount, list[Part], list[Part]] | Refusal:
    """The account, under its lock, with the lines and entries, all of which are open."""
    account = locked_statement_account(connection, wanted.statement_account_id)
    if account is None:
        return statement_account_not_found(wanted.statement_account_id)
    lines = _parts(connection, _LINES, wanted.line_ids, {"id": account.statement_account_id})
    if isinstance(lines, set):
        return not_open("lines", sorted(lines))
    entries = _parts(connection, _ENTRIES, wanted.entry_numbers, {"account_id": account.account_id})
    if isinstance(entries, set):
        return not_open("entries", sorted(entries))
    return account, lines, entries


def _parts(connection: Connection, query: str, ids: Sequence[int], named: dict[str, Any]) -> list[Part] | set[int]:
    """What is open of these ids; those that are not, if there are any."""
    rows = connection.exec_driver_sql(query, {**named, "ids": sorted(set(ids))}).all()
    missing = set(ids) - {row[0] for row in rows}
    return missing or [(row[0], row[1], row[2]) for row in rows]


def _refuse(
    connection: Connection,
    account: StatementAccount,
    lines: Sequence[Part],
    entries: Sequence[Part],
    *,
    accepts_difference: bool,
) -> Refusal | None:
    if len(lines) + len(entries) < 2:
        return nothing_to_match()
    last = max(day for _, _, day in (*lines, *entries))
    if account.signed_through is not None and last <= account.signed_through:
        return period_signed_off(account.signed_through)
    lines_minor, entries_minor = _sum(lines), _sum(entries)
    if lines_minor != entries_minor and not accepts_difference:
        return match_differs(lines_minor, entries_minor, account.currency_code, minor_units_of(connection, account))
    return None


def _insert(
    connection: Connection,
    account: StatementAccount,
    wanted: NewMatch,
    lines: Sequence[Part],
    entries: Sequence[Part],
    actor: str,
) -> int:
    days = [day for _, _, day in (*lines, *entries)]
    values = {
        "id": account.statement_account_id,
        "rule": wanted.rule,
        "figures": Jsonb({"reason": wanted.reason, "days_apart": (max(days) - min(days)).days}),
        "lines_minor": _sum(lines),
        "entries_minor": _sum(entries),
        "settled_on": max(days),
        "former": wanted.former_match_id,
        "journal_id": wanted.journal_id,
        "actor": actor,
    }
    match_id = int(connection.exec_driver_sql(_INSERT, values).scalar_one())
    parts = {
        "match_id": match_id,
        "account_id": account.account_id,
        "lines": [one for one, _, _ in lines],
        "entries": [one for one, _, _ in entries],
    }
    for part in _PARTS:
        connection.exec_driver_sql(part, parts)
    settle_matched(connection.exec_driver_sql, account, actor)
    _note(connection, account, match_id, "matched", wanted.reason, actor)
    return match_id


def _change(connection: Connection, match_id: int, state: MatchState, reason: str, actor: str) -> Refusal | None:
    query = "SELECT statement_account_id, settled_on FROM statement_match WHERE match_id = %(match_id)s"
    found = connection.exec_driver_sql(query, {"match_id": match_id}).first()
    account = None if found is None else locked_statement_account(connection, found[0])
    if found is None or account is None:
        return match_not_found(match_id)
    query = "SELECT state FROM statement_match WHERE match_id = %(match_id)s FOR UPDATE"
    current = connection.exec_driver_sql(query, {"match_id": match_id}).scalar_one()
    if current == MatchState.UNDONE or (state is MatchState.MATCHED and current != MatchState.SUGGESTED):
        return wrong_state(match_id, current)
    if account.signed_through is not None and found[1] <= account.signed_through:
        return period_signed_off(account.signed_through)
    change = "UPDATE statement_match SET state = %(state)s WHERE match_id = %(match_id)s"
    connection.exec_driver_sql(change, {"state": state.value, "match_id": match_id})
    if state is MatchState.UNDONE:
        for part in _FREE:
            connection.exec_driver_sql(part, {"match_id": match_id})
        reopen_items(connection.exec_driver_sql, account, match_id, actor)
    _note(connection, account, match_id, "confirmed" if state is MatchState.MATCHED else "undone", reason, actor)
    return None


def _note(
    connection: Connection, account: StatementAccount, match_id: int, action: str, reason: str, actor: str
) -> None:
    event = {"match_id": match_id, "action": action, "actor": actor, "reason": reason}
    connection.exec_driver_sql(_EVENT, event)
    told = {**event, "statement_account_id": account.statement_account_id}
    kind = _AUDITED[action]
    record_change(connection.exec_driver_sql, kind, actor, account_id=account.account_id, result=told)


_AUDITED = {"matched": Action.MATCH, "confirmed": Action.MATCH_CONFIRM, "undone": Action.MATCH_UNDO}


def _sum(parts: Sequence[Part]) -> int:
    return sum(amount for _, amount, _ in parts)
