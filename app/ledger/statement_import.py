"""Importing a statement file into the ledger: one transaction, whatever the file's size.

Lines are streamed by COPY into a temporary table. The database then tells which of them are new, which are known, and
which use an id again with another content, and takes over the new ones. Nothing grows with the file in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.money import as_money
from app.domain.statement import Balance, StatementHead
from app.domain.statement_proof import StatementBreak, StatementBreakKind, StatementTally
from app.domain.statement_records import Judged, StagedLine, StatementFile, StoredImport
from app.domain.statement_source import StatementSource
from app.ledger.audit_records import record_change
from app.ledger.connections import locked_transaction
from app.ledger.late_lines import LATE_LINES, late_lines

MOST_BREAKS = 1_000
"""Breaks of one kind recorded for one file; their number is told in full."""

_STAGE = """
    CREATE TEMPORARY TABLE staged_line (
        n bigint, statement integer, line bigint, position bigint, identity bytea, content bytea, booked_on date,
        value_on date, amount_minor bigint, line_id text COLLATE "C", kind text, reference text,
        batch_id text COLLATE "C", counterparty text, text text, details jsonb
    ) ON COMMIT DROP
"""
_COPY = "COPY pg_temp.staged_line FROM STDIN"

_JUDGE = """
    CREATE TEMPORARY TABLE judged_line ON COMMIT DROP AS
    SELECT s.*, CASE WHEN s.line_id IS NULL THEN s.nth ELSE 1 END AS ordinal, known.statement_line_id AS known_id,
        CASE WHEN known.statement_line_id IS NULL AND (s.line_id IS NULL OR s.nth = 1) THEN 'new'
            WHEN coalesce(known.content, s.first_content) <> s.content THEN 'reused'
            WHEN s.line_id IS NOT NULL AND s.nth > 1 THEN 'repeated' ELSE 'known' END AS judgement
    FROM (SELECT t.*, row_number() OVER w AS nth, first_value(t.content) OVER w AS first_content
        FROM pg_temp.staged_line t WINDOW w AS (PARTITION BY t.identity ORDER BY t.n)) s
    LEFT JOIN public.statement_line known
        ON known.identity = s.identity AND known.ordinal = CASE WHEN s.line_id IS NULL THEN s.nth ELSE 1 END
"""
_COUNT = """
    SELECT statement, judgement, count(*), coalesce(sum(amount_minor), 0) FROM pg_temp.judged_line
    GROUP BY statement, judgement
"""
_INSERT_IMPORT = """
    INSERT INTO public.statement_import (source_name, source_version, file_hash, file_name, file_bytes, line_count,
        added_count, known_count, refused_count, imported_by)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING import_id
"""
_INSERT_STATEMENT = """
    INSERT INTO public.statement (import_id, source_name, account_ref, currency_code, minor_units, name, first_on,
        last_on, opening_minor, opening_on, closing_minor, closing_on, line_count, lines_minor, added_count,
        added_minor, refused_count, not_booked_count, page_count, proof, difference_minor, missing)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    RETURNING statement_id
"""
_NUMBERS = "CREATE TEMPORARY TABLE numbered_statement (statement integer, statement_id bigint) ON COMMIT DROP"
_INSERT_LINES = """
    INSERT INTO public.statement_line (statement_id, source_name, account_ref, currency_code, line, position, booked_on,
        value_on, amount_minor, line_id, kind, reference, counterparty, text, details, identity, ordinal, content)
    SELECT s.statement_id, s.source_name, s.account_ref, s.currency_code, j.line, j.position, j.booked_on, j.value_on,
        j.amount_minor, j.line_id, j.kind, j.reference, j.counterparty, j.text, j.details, j.identity, j.ordinal,
        j.content
    FROM pg_temp.judged_line j
    JOIN pg_temp.numbered_statement n ON n.statement = j.statement
    JOIN public.statement s ON s.statement_id = n.statement_id
    WHERE j.judgement = 'new' ORDER BY j.n
"""
_INSERT_BATCHES = """
    INSERT INTO public.statement_batch (statement_line_id, batch_id, import_id)
    SELECT l.statement_line_id, min(j.batch_id), %s FROM pg_temp.judged_line j
    JOIN public.statement_line l ON l.identity = j.identity AND l.ordinal = j.ordinal
    WHERE j.batch_id <> '' AND j.judgement <> 'reused' GROUP BY l.statement_line_id
    ON CONFLICT DO NOTHING
"""
_REUSED = """
    SELECT j.statement, j.line, j.position, j.line_id, j.amount_minor, j.booked_on, l.amount_minor, l.booked_on,
        j.judgement = 'repeated'
    FROM pg_temp.judged_line j JOIN public.statement_line l ON l.identity = j.identity AND l.ordinal = j.ordinal
    WHERE j.judgement IN ('reused', 'repeated') ORDER BY j.n LIMIT %s
"""
_OTHER_BATCH = """
    SELECT j.statement, j.line, j.position, j.line_id, j.batch_id, b.batch_id FROM pg_temp.judged_line j
    JOIN public.statement_line l ON l.identity = j.identity AND l.ordinal = j.ordinal
    JOIN public.statement_batch b ON b.statement_line_id = l.statement_line_id
    WHERE j.batch_id <> '' AND j.judgement <> 'reused' AND b.batch_id <> j.batch_id ORDER BY j.n LIMIT %s
"""
_PAYOUTS = """
    SELECT b.batch_id, l.currency_code, count(*) FILTER (WHERE l.kind <> 'payout'), sum(l.amount_minor),
        sum(l.amount_minor) FILTER (WHERE l.kind = 'payout')
    FROM public.statement_batch b JOIN public.statement_line l ON l.statement_line_id = b.statement_line_id
    WHERE l.source_name = %s
        AND b.batch_id IN (SELECT j.batch_id FROM pg_temp.judged_line j WHERE j.batch_id <> '')
    GROUP BY b.batch_id, l.currency_code HAVING bool_or(l.kind = 'payout')
    ORDER BY b.batch_id, l.currency_code
"""
_INSERT_BREAK = """
    INSERT INTO public.statement_break (import_id, statement_id, kind, line, position, detail, figures)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


class LedgerStatementImport:
    """Opens the transaction of an import. Imports of one source wait for each other."""

    def __init__(self, open_connection: Callable[[], psycopg.Connection[Any]]) -> None:
        self._open = open_connection

    @contextmanager
    def begin(self, source_name: str) -> Iterator[ImportSession]:
        """A session that is committed at the end, unless it is discarded or an error leaves it."""
        with locked_transaction(self._open, f"statement source {source_name}") as connection:
            session = ImportSession(connection)
            yield session
            if session.is_discarded:
                raise psycopg.Rollback


class ImportSession:
    """One import: stage the lines, have them judged, then store or discard."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.is_discarded = False

    def discard(self) -> None:
        """Have nothing of this session stored."""
        self.is_discarded = True

    def import_of(self, source: StatementSource, file_hash: bytes) -> int | None:
        """The earlier import of the same file with the same version of its source."""
        row = self._connection.execute(
            "SELECT import_id FROM public.statement_import"
            " WHERE source_name = %s AND source_version = %s AND file_hash = %s",
            [source.name, source.version, file_hash],
        ).fetchone()
        return None if row is None else int(row[0])

    def stage(self, lines: Iterable[StagedLine]) -> None:
        """Take the lines as they come."""
        self._connection.execute(_STAGE)
        with self._connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for line in lines:
                copy.write_row(line)

    def judge(self) -> dict[int, Judged]:
        """Tell for each statement of the file what its lines are."""
        self._connection.execute("ANALYZE pg_temp.staged_line")
        self._connection.execute(_JUDGE)
        self._connection.execute("ANALYZE pg_temp.judged_line")
        found: dict[int, Judged] = {}
        for statement, judgement, count, amount_minor in self._connection.execute(_COUNT):
            judged = found.setdefault(statement, Judged())
            if judgement == "new":
                judged.added, judged.added_minor = count, int(amount_minor)
            elif judgement == "reused":
                judged.reused = count
            else:
                judged.known += count
        return found

    def store(
        self,
        file: StatementFile,
        statements: Sequence[StatementTally],
        judged: dict[int, Judged],
        breaks: Sequence[StatementBreak],
        refused_count: int,
    ) -> StoredImport:
        """Write the import, its statements, its new lines and its breaks."""
        import_id = self._insert_import(file, statements, judged, refused_count)
        ids = self._insert_statements(import_id, file.source.name, statements, judged)
        self._connection.execute(_INSERT_LINES)
        self._connection.execute(_INSERT_BATCHES, [import_id])
        payouts, explained = self._payouts(file.source.name, statements)
        found = [*breaks, *self._reused(statements), *self._of_other_batches(), *payouts]
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _INSERT_BREAK,
                [
                    (import_id, ids.get(one.statement or 0), one.kind, one.line, one.position, one.detail,
                     Jsonb(dict(one.figures)))
                    for one in found
                ],
            )  # fmt: skip
        told = {"import_id": import_id, "source": file.source.name, "file": file.name, "breaks": len(found)}
        record_change(self._connection.execute, Action.STATEMENT_IMPORT, file.actor, result=told)
        late = [late_lines(row) for row in self._connection.execute(LATE_LINES, {"import_id": import_id})]
        return StoredImport(import_id, found, explained, late)

    def _insert_import(
        self, file: StatementFile, statements: Sequence[StatementTally], judged: dict[int, Judged], refused_count: int
    ) -> int:
        row = self._connection.execute(
            _INSERT_IMPORT,
            [
                file.source.name, file.source.version, file.hash, file.name, file.bytes,
                sum(one.line_count for one in statements), sum(one.added for one in judged.values()),
                sum(one.known for one in judged.values()), refused_count, file.actor,
            ],
        ).fetchone()  # fmt: skip
        assert row is not None
        return int(row[0])

    def _insert_statements(
        self, import_id: int, source_name: str, statements: Sequence[StatementTally], judged: dict[int, Judged]
    ) -> dict[int, int]:
        """Write the statements; returns the id of each number."""
        ids = {}
        for one in statements:
            values = _statement_row(import_id, source_name, one, judged.get(one.head.number, Judged()))
            row = self._connection.execute(_INSERT_STATEMENT, values).fetchone()
            assert row is not None
            ids[one.head.number] = int(row[0])
        self._connection.execute(_NUMBERS)
        with self._connection.cursor() as cursor, cursor.copy("COPY pg_temp.numbered_statement FROM STDIN") as copy:
            for pair in ids.items():
                copy.write_row(pair)
        return ids

    def _reused(self, statements: Sequence[StatementTally]) -> Iterator[StatementBreak]:
        heads = {one.head.number: one.head for one in statements}
        for row in self._connection.execute(_REUSED, [MOST_BREAKS]):
            statement, line, position, line_id, amount_minor, booked_on, former_minor, former_on, is_repeated = row
            figures = {"line_id": line_id, "amount_minor": amount_minor, "former_minor": former_minor}
            was, now = (_money(amount, heads[statement]) for amount in (former_minor, amount_minor))
            detail = (
                f"the id {line_id!r} was used for another line: {was} on {former_on}, and now {now} on {booked_on}; "
            )
            detail += "the first one stays"
            if is_repeated:
                detail = f"the id {line_id!r} stands twice in this file, with the same content; it is one line here"
            yield StatementBreak(StatementBreakKind.ID_REUSED, detail, statement, line, position, figures)

    def _of_other_batches(self) -> Iterator[StatementBreak]:
        for statement, line, position, line_id, batch, former in self._connection.execute(_OTHER_BATCH, [MOST_BREAKS]):
            detail = f"the line {line_id!r} was part of {former!r}, and now of {batch!r}; the first one stays"
            figures = {"line_id": line_id, "batch_id": batch, "former_batch_id": former}
            yield StatementBreak(StatementBreakKind.ID_REUSED, detail, statement, line, position, figures)

    def _payouts(self, source_name: str, statements: Sequence[StatementTally]) -> tuple[list[StatementBreak], int]:
        """The payouts of the file that their lines do not explain, and the number of those that they do."""
        heads = {one.head.currency_code: one.head for one in statements}
        differing: list[StatementBreak] = []
        explained = 0
        for batch_id, currency, count, rest, payout_minor in self._connection.execute(_PAYOUTS, [source_name]):
            if not rest:
                explained += 1
            elif len(differing) < MOST_BREAKS:
                differing.append(_payout_break(batch_id, count, rest, payout_minor, heads.get(currency)))
        return differing, explained


def _payout_break(
    batch_id: str, count: int, rest: int, payout_minor: int, head: StatementHead | None
) -> StatementBreak:
    verb = "line leaves" if count == 1 else "lines leave"
    lines = f"its {count} {verb} {_money(rest, head)}" if count else "no line says what it is for"
    detail = f"payout {batch_id} of {_money(-payout_minor, head)} is not explained: {lines}"
    figures = {"batch_id": batch_id, "payout_minor": int(payout_minor), "remainder_minor": int(rest), "lines": count}
    number = None if head is None else head.number
    return StatementBreak(StatementBreakKind.PAYOUT_DIFFERS, detail, number, figures=figures)


def _money(amount_minor: int, head: StatementHead | None) -> str:
    if head is None:
        return f"{int(amount_minor)} minor units"
    return f"{as_money(int(amount_minor), head.minor_units)} {head.currency_code}"


def _statement_row(import_id: int, source_name: str, one: StatementTally, judged: Judged) -> list[object]:
    head = one.head
    return [
        import_id, source_name, head.account_ref, head.currency_code, head.minor_units, head.name, one.first_on,
        one.last_on, *_balance(one.opening), *_balance(one.closing), one.line_count, one.sum_minor, judged.added,
        judged.added_minor, one.refused_count, one.not_booked_count, one.page_count, one.proof, one.difference_minor,
        one.remark,
    ]  # fmt: skip


def _balance(balance: Balance | None) -> tuple[int | None, date | None]:
    return (None, None) if balance is None else (balance.amount_minor, balance.on)
