"""Templates of journals in the ledger: each change is another version, and the newest counts."""

from typing import Any

from sqlalchemy import Engine, Row, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from app.domain.audit import Action
from app.domain.journal_proposals import JournalTemplate, TemplateLine
from app.domain.origin import note_recorded
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.journal_schema import journal_template


class LedgerJournalTemplates:
    """The templates."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[JournalTemplate]:
        """The newest version of each that is offered, by name."""
        columns = journal_template.c
        query = select(journal_template).ext(distinct_on(columns.name)).order_by(columns.name, columns.version.desc())
        with translated(), self._engine.connect() as connection:
            found = [_template(row) for row in connection.execute(query)]
        return [one for one in found if not one.is_retired]

    def get(self, name: str) -> JournalTemplate | None:
        """The newest version of one; None if it is not offered."""
        return next((one for one in self.all() if one.name == name), None)

    def save(self, wanted: JournalTemplate, actor: str) -> None:
        """Keep a version of a template, unless the newest is the same; without lines it is offered no more."""
        content = {
            "lines": [[one.account_id, one.is_debit, one.amount_minor] for one in wanted.lines],
            "reason": wanted.reason,
        }
        columns = journal_template.c
        newest = select(journal_template).where(columns.name == wanted.name).order_by(columns.version.desc()).limit(1)
        with translated(), self._engine.begin() as connection:
            lock = f"journal template {wanted.name}"
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
            known = connection.execute(newest).first()
            if known is not None and (known.lines, known.reason) == (content["lines"], content["reason"]):
                return
            version = 1 if known is None else known.version + 1
            values = {"name": wanted.name, "version": version, **content, "saved_by": actor}
            connection.execute(insert(journal_template).values(**values))
            record_change(connection.exec_driver_sql, Action.JOURNAL_TEMPLATE, actor, result=values)
        note_recorded()


def _template(row: Row[Any]) -> JournalTemplate:
    lines = [TemplateLine(*line) for line in row.lines]
    return JournalTemplate(row.name, lines, row.reason, row.version, row.saved_by, row.saved_at)
