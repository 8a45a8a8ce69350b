"""Statements in the ledger: saved sources, imported files, statements, their lines and what is wrong with them."""

from datetime import date
from typing import Any

from sqlalchemy import Engine, Row, Select, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from app.domain.audit import Action
from app.domain.origin import note_recorded
from app.domain.statement_proof import StatementBreak, StatementBreakKind
from app.domain.statement_records import ImportRecord, LateLines, LineRecord, StatementRecord
from app.domain.statement_source import StatementFormat, StatementSource
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.late_lines import LATE_LINES, late_lines
from app.ledger.statement_schema import (
    statement,
    statement_batch,
    statement_break,
    statement_import,
    statement_line,
    statement_source,
)

_STATEMENT = [column for column in statement.c if column.name != "added_minor"]
_LINE = [
    *(statement_line.c[name] for name in ("statement_line_id", "statement_id", "line", "position", "booked_on")),
    *(statement_line.c[name] for name in ("value_on", "amount_minor", "line_id", "kind", "reference")),
    statement_batch.c.batch_id,
    *(statement_line.c[name] for name in ("counterparty", "text", "details")),
]


class LedgerStatements:
    """Reads statements, and saves sources."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_source(self, wanted: StatementSource, actor: str) -> tuple[StatementSource, bool]:
        """Save a source, as a new version if it is known; returns it, and whether anything is new."""
        with translated(), self._engine.begin() as connection:
            lock = f"statement source {wanted.name}"
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
            known = connection.execute(_newest(wanted.name)).first()
            if known is not None and (known.format, known.options) == (wanted.format, dict(wanted.raw_options)):
                return _source(known), False
            values = {
                "name": wanted.name,
                "version": 1 if known is None else known.version + 1,
                "format": wanted.format.value,
                "options": dict(wanted.raw_options),
                "created_by": actor,
            }
            row = connection.execute(insert(statement_source).values(**values).returning(*statement_source.c)).one()
            record_change(connection.exec_driver_sql, Action.STATEMENT_SOURCE, actor, result=values)
        note_recorded()
        return _source(row), True

    def source(self, name: str) -> StatementSource | None:
        """The newest version of a source; None if there is none of that name."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_newest(name)).first()
        return None if row is None else _source(row)

    def sources(self) -> list[StatementSource]:
        """The newest version of each source, by name."""
        columns = statement_source.c
        query = select(statement_source).ext(distinct_on(columns.name)).order_by(columns.name, columns.version.desc())
        with translated(), self._engine.connect() as connection:
            return [_source(row) for row in connection.execute(query)]

    def last_imports(self) -> list[ImportRecord]:
        """The last import of each source, by name."""
        columns = statement_import.c
        query = _imports().ext(distinct_on(columns.source_name)).order_by(columns.source_name, columns.import_id.desc())
        with translated(), self._engine.connect() as connection:
            return [_import(row) for row in connection.execute(query)]

    def late_lines(self) -> list[LateLines]:
        """Lines that came in after their period was signed off, and that no later signature has taken in."""
        with translated(), self._engine.connect() as connection:
            return [late_lines(tuple(row)) for row in connection.exec_driver_sql(LATE_LINES, {"import_id": None})]

    def breaks(self, import_id: int, *, limit: int) -> list[StatementBreak]:
        """Up to `limit` breaks of an import; their `statement` is the statement's id."""
        columns = statement_break.c
        query = (
            select(statement_break)
            .where(columns.import_id == import_id)
            .order_by(columns.statement_break_id)
            .limit(limit)
        )
        with translated(), self._engine.connect() as connection:
            return [
                StatementBreak(
                    StatementBreakKind(row.kind), row.detail, row.statement_id, row.line, row.position, row.figures
                )
                for row in connection.execute(query)
            ]

    def statements(
        self, *, limit: int, after: int, source_name: str | None = None, import_id: int | None = None
    ) -> list[StatementRecord]:
        """Up to `limit` statements in the order of their import, after the one with that id."""
        columns = statement.c
        query = select(*_STATEMENT).where(columns.statement_id > after).order_by(columns.statement_id).limit(limit)
        if source_name is not None:
            query = query.where(columns.source_name == source_name)
        if import_id is not None:
            query = query.where(columns.import_id == import_id)
        with translated(), self._engine.connect() as connection:
            return [_statement(row) for row in connection.execute(query)]

    def newest_day(self, source_name: str) -> date | None:
        """The day of the newest line of a source; None before the first."""
        query = select(func.max(statement_line.c.booked_on)).where(statement_line.c.source_name == source_name)
        with translated(), self._engine.connect() as connection:
            found: date | None = connection.execute(query).scalar()
        return found

    def latest(self, limit: int) -> list[StatementRecord]:
        """Up to `limit` statements, the last imported first."""
        query = select(*_STATEMENT).order_by(statement.c.statement_id.desc()).limit(limit)
        with translated(), self._engine.connect() as connection:
            return [_statement(row) for row in connection.execute(query)]

    def statement(self, statement_id: int) -> StatementRecord | None:
        """One statement; None if there is none."""
        query = select(*_STATEMENT).where(statement.c.statement_id == statement_id)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _statement(row)

    def lines(self, statement_id: int, *, limit: int, after: int) -> list[LineRecord]:
        """Up to `limit` lines that a statement has brought, in the order of the file, after the one with that id."""
        columns = statement_line.c
        query = (
            select(*_LINE)
            .outerjoin(statement_batch, statement_batch.c.statement_line_id == columns.statement_line_id)
            .where(columns.statement_id == statement_id, columns.statement_line_id > after)
            .order_by(columns.statement_line_id)
            .limit(limit)
        )
        with translated(), self._engine.connect() as connection:
            return [LineRecord(*row) for row in connection.execute(query)]


def _newest(name: str) -> Select[tuple[object, ...]]:
    columns = statement_source.c
    return select(statement_source).where(columns.name == name).order_by(columns.version.desc()).limit(1)


def _imports() -> Select[tuple[object, ...]]:
    columns = statement_import.c
    broken = (
        select(func.count())
        .where(statement_break.c.import_id == columns.import_id)
        .correlate(statement_import)
        .scalar_subquery()
    )
    names = ("import_id", "source_name", "source_version", "file_name", "line_count", "added_count", "known_count")
    counts = [*(columns[name] for name in names), columns.refused_count, broken.label("break_count")]
    return select(*counts, columns.imported_by, columns.imported_at)


def _import(row: Row[Any]) -> ImportRecord:
    return ImportRecord(**row._mapping)


def _source(row: Row[tuple[object, ...]]) -> StatementSource:
    return StatementSource(
        row.name, StatementFormat(row.format), row.options, row.version, row.created_by, row.created_at
    )


def _statement(row: Row[Any]) -> StatementRecord:
    values = dict(row._mapping)
    for name in ("lines_minor", "difference_minor"):
        if values[name] is not None:
            values[name] = int(values[name])
    return StatementRecord(**values)
