"""One run of the rules: what is open on both sides, and what has been found, in one transaction.

Lines and entries of an account are read as they are at one moment. Entries pass by one at a time, however many there
are, and matches are written by COPY. Runs and decisions on one account wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.match_items import FoundMatch, OpenEntry, OpenLine, Parts
from app.domain.match_reasons import TIMING_DAYS, TWIN_DAYS, Unmatched
from app.domain.match_records import MatchState, RunReport, StatementAccount
from app.domain.matching_rules import LONGEST_WINDOW_DAYS
from app.ledger.audit_records import record_change
from app.ledger.connections import locked_transaction
from app.ledger.statement_accounts import lock_of
from app.ledger.unmatched_items import write_unmatched

_LINES = """
    SELECT l.statement_line_id, l.amount_minor, l.booked_on, coalesce(l.line_id, ''), l.reference,
        coalesce(b.batch_id, ''), l.kind, l.counterparty, l.text, l.details, m.match_id IS NULL
    FROM public.statement_line l
    LEFT JOIN public.statement_batch b ON b.statement_line_id = l.statement_line_id
    LEFT JOIN public.match_line m ON m.statement_line_id = l.statement_line_id AND m.is_live
    WHERE (l.source_name, l.account_ref, l.currency_code) = (%(source_name)s, %(account_ref)s, %(currency_code)s)
        AND l.booked_on >= %(starts_on)s AND l.amount_minor <> 0
        AND (m.match_id IS NULL OR l.booked_on >= %(recent)s)
"""
_FIRST_OPEN = """
    SELECT min(l.booked_on) FROM public.statement_line l
    WHERE (l.source_name, l.account_ref, l.currency_code) = (%(source_name)s, %(account_ref)s, %(currency_code)s)
        AND l.booked_on >= %(starts_on)s AND NOT EXISTS (
            SELECT FROM public.match_line m WHERE m.statement_line_id = l.statement_line_id AND m.is_live)
"""
_COVERED = """
    SELECT max(greatest(s.last_on, s.closing_on)) FROM public.statement s
    WHERE (s.source_name, s.account_ref, s.currency_code) = (%(source_name)s, %(account_ref)s, %(currency_code)s)
"""
_STAGE = """
    CREATE TEMPORARY TABLE staged_entry ON COMMIT DROP AS
    SELECT e.entry_number, e.amount_minor, (t.effective_at AT TIME ZONE 'UTC')::date AS day, t.external_id,
        t.payment_id, coalesce(t.description, '') AS description, t.metadata, t.kind, t.relates_to, e.partition,
        e.chain_seq, m.match_id IS NULL AS is_open
    FROM public.entry e
    JOIN public.ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    LEFT JOIN public.match_entry m ON m.account_id = e.account_id AND m.entry_number = e.entry_number AND m.is_live
    WHERE e.account_id = %s AND t.effective_at >= %s
"""
# The ledger is written as things happen, so it has had its time for every day but the last ones, however old its newest
# entry is. Only while an older time is being brought in, the newest entry says how far that has come.
_THROUGH = """
    SELECT CASE WHEN max(e.posted_at) > clock_timestamp() - %(timing_days)s * interval '1 day' THEN max(s.day)
        ELSE (clock_timestamp() AT TIME ZONE 'UTC')::date END
    FROM pg_temp.staged_entry s
    JOIN public.entry e ON e.account_id = %(account_id)s AND e.entry_number = s.entry_number
    WHERE s.day = (SELECT max(day) FROM pg_temp.staged_entry)
"""
_TAKEN = "CREATE TEMPORARY TABLE taken_entry (entry_number bigint PRIMARY KEY) ON COMMIT DROP"
_INSERT_RUN = """
    INSERT INTO public.match_run (statement_account_id, version, line_count, entry_count, matched_count,
        suggested_count, covered_through, run_by)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING match_run_id
"""
_IDS = "SELECT nextval('public.statement_match_match_id_seq') FROM generate_series(1, %s)"
_COPY_MATCHES = """
    COPY public.statement_match (match_id, statement_account_id, match_run_id, rule, figures, lines_minor,
        entries_minor, settled_on, state, made_by) FROM STDIN
"""
_COPY_LINES = "COPY public.match_line (match_id, statement_line_id) FROM STDIN"
_COPY_ENTRIES = "COPY public.match_entry (match_id, account_id, entry_number) FROM STDIN"


class LedgerMatching:
    """Opens the transaction of a run."""

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]]) -> None:
        self._open = open_connection

    @contextmanager
    def begin(self, account: StatementAccount) -> Iterator[MatchingSession]:
        """A session that is committed at the end, unless it is discarded or an error leaves it."""
        with locked_transaction(self._open, lock_of(account.statement_account_id)) as connection:
            session = MatchingSession(connection, account)
            yield session
            if session.is_discarded:
                raise psycopg.Rollback


class MatchingSession:
    """One run over one account."""

    def __init__(self, connection: psycopg.Connection[Any], account: StatementAccount) -> None:
        self._connection = connection
        self._account = account
        self._named = {
            "source_name": account.source_name,
            "account_ref": account.account_ref,
            "currency_code": account.currency_code,
            "starts_on": account.starts_on,
        }
        self.is_discarded = False

    def discard(self) -> None:
        """Have nothing of this session stored."""
        self.is_discarded = True

    def covered_through(self) -> date | None:
        """The last day that statements of the account tell of."""
        found: date | None = self._one(_COVERED)
        return found

    def lines(self, *, includes_matched: bool) -> list[OpenLine]:
        """The open lines, and the matched ones of the same time, which say what a line may be like.

        `includes_matched`: all lines, as if none had a match.
        """
        first = date.min if includes_matched else self._one(_FIRST_OPEN)
        recent = date.max if first is None else date.fromordinal(max(first.toordinal() - TWIN_DAYS, 1))
        rows = self._connection.execute(_LINES, self._named | {"recent": recent})
        return [OpenLine._make((*row[:-1], row[-1] or includes_matched)) for row in rows]

    def stage_entries(self) -> tuple[int, date]:
        """Take the entries as they are now; returns how many are open, and the day up to which the ledger had time."""
        since = max(self._account.starts_on.toordinal() - LONGEST_WINDOW_DAYS, 1)
        self._connection.execute(_STAGE, [self._account.account_id, date.fromordinal(since)])
        self._connection.execute("ANALYZE pg_temp.staged_entry")
        open_count = self._one("SELECT count(*) FROM pg_temp.staged_entry WHERE is_open")
        named = {"account_id": self._account.account_id, "timing_days": TIMING_DAYS}
        return int(open_count), self._one(_THROUGH, named)

    def entries(self, metadata: Sequence[str], *, includes_matched: bool) -> Iterator[OpenEntry]:
        """The staged entries, with these members of their metadata."""
        members = [sql.SQL(", metadata ->> {}").format(sql.Literal(name)) for name in metadata]
        query = sql.SQL(
            "SELECT entry_number, amount_minor, day, external_id, payment_id, description{} FROM pg_temp.staged_entry"
            " WHERE is_open OR {}"
        ).format(sql.SQL("").join(members), sql.Literal(includes_matched))
        with self._connection.cursor("open_entries", scrollable=False) as cursor:
            cursor.itersize = 10_000
            cursor.execute(query)
            for row in cursor:
                yield OpenEntry._make((*row[:6], row[6:]))

    def store(
        self, found: Sequence[FoundMatch], report: RunReport, actor: str, covered_through: date | None
    ) -> RunReport:
        """Write the run with its matches."""
        account = self._account
        report.match_run_id = self._one(
            _INSERT_RUN,
            [
                account.statement_account_id, account.version, report.line_count, report.entry_count, report.matched,
                report.suggested, covered_through, actor,
            ],
        )  # fmt: skip
        ids = [row[0] for row in self._connection.execute(_IDS, [len(found)])]
        with self._connection.cursor() as cursor:
            with cursor.copy(_COPY_MATCHES) as copy:
                for match_id, one in zip(ids, found, strict=True):
                    copy.write_row(_match_row(match_id, account.statement_account_id, report.match_run_id, one, actor))
            with cursor.copy(_COPY_LINES) as copy:
                for match_id, one in zip(ids, found, strict=True):
                    for line in one.lines:
                        copy.write_row((match_id, line.statement_line_id))
            with cursor.copy(_COPY_ENTRIES) as copy:
                for match_id, one in zip(ids, found, strict=True):
                    for entry in one.entries:
                        copy.write_row((match_id, account.account_id, entry.entry_number))
            cursor.execute(_TAKEN)
            with cursor.copy("COPY pg_temp.taken_entry FROM STDIN") as copy:
                for one in found:
                    for entry in one.entries:
                        copy.write_row((entry.entry_number,))
            cursor.execute("ANALYZE pg_temp.taken_entry")
        return report

    def store_unmatched(
        self, unmatched: Sequence[Unmatched], covered_through: date | None, actor: str, report: RunReport
    ) -> None:
        """Keep what has no match, settle what has one now, and record the run."""
        write_unmatched(self._connection, self._account, unmatched, covered_through, TIMING_DAYS, actor, report)
        told = {
            "match_run_id": report.match_run_id,
            "statement_account_id": self._account.statement_account_id,
            "matched": report.matched,
            "suggested": report.suggested,
            "new_breaks": report.new_breaks,
        }
        execute = self._connection.execute
        record_change(execute, Action.MATCH_RUN, actor, account_id=self._account.account_id, result=told)

    def parts_of_matches(self, *, undone: bool) -> set[Parts]:
        """The lines and entries of each match that stands, or of each that people have undone."""
        query = """
            SELECT (SELECT array_agg(l.statement_line_id ORDER BY l.statement_line_id)
                    FROM public.match_line l WHERE l.match_id = m.match_id),
                (SELECT array_agg(e.entry_number ORDER BY e.entry_number)
                    FROM public.match_entry e WHERE e.match_id = m.match_id)
            FROM public.statement_match m WHERE m.statement_account_id = %s AND (m.state = 'undone') = %s
        """
        rows = self._connection.execute(query, [self._account.statement_account_id, undone])
        return {(tuple(lines or ()), tuple(entries or ())) for lines, entries in rows}

    def _one(self, query: Any, parameters: Any = None) -> Any:
        row = self._connection.execute(query, self._named if parameters is None else parameters).fetchone()
        assert row is not None
        return row[0]


def _match_row(match_id: int, account: int, run_id: int, one: FoundMatch, actor: str) -> tuple[object, ...]:
    figures = {"rule": one.rule.as_json(), "key": list(one.key), "days_apart": one.days_apart}
    state = MatchState.SUGGESTED if one.is_suggestion else MatchState.MATCHED
    return (
        match_id, account, run_id, one.rule.name, Jsonb(figures), one.lines_minor, one.entries_minor, one.settled_on,
        state.value, actor,
    )  # fmt: skip
