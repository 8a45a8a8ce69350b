"""Importing statement files: read once, add up, keep what is new, and tell what is wrong.

A file is imported whole or not at all; a refused line costs itself only. The same file again changes nothing, and
neither does a line that an earlier file has brought. A mapped CSV file whose running balance contradicts its lines is
shown and not stored, because then the mapping is wrong, unless somebody accepts the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO

from app.domain.statement import MinorUnits, Reader, StatementEvent, StatementLine, identity_of
from app.domain.statement_proof import FileTally, StatementBreak, StatementTally
from app.domain.statement_records import Judged, LateLines, StagedLine, StatementFile
from app.domain.statement_source import StatementFormat, StatementSource

if TYPE_CHECKING:
    from app.ledger.statement_import import ImportSession, LedgerStatementImport

MOST_REFUSED = 1_000
"""Refused lines told one by one for each file; their number is told in full."""

PROGRESS_LINES = 1_000
"""Progress is told once for so many lines: often enough for people, seldom enough to cost nothing."""

_PIECE = 1024 * 1024

Progress = Callable[[int], None]
"""Told how many bytes of the file have been read."""


@dataclass(slots=True)
class ImportReport:
    """What became of a file.

    `earlier_import_id`: the same file was imported before, and was not read again. Otherwise `import_id` is None if
    nothing was stored, in a trial or because of `withheld`.
    """

    import_id: int | None = None
    earlier_import_id: int | None = None
    withheld: str = ""
    line_count: int = 0
    refused_count: int = 0
    judged: Judged = field(default_factory=Judged)
    statements: list[StatementTally] = field(default_factory=list)
    breaks: list[StatementBreak] = field(default_factory=list)
    explained_payouts: int = 0
    late: list[LateLines] = field(default_factory=list)
    """Lines within periods that are signed off."""


class StatementImports:
    """Imports files; `readers` has the reader of each format, `minor_units` the decimal places of each currency."""

    def __init__(
        self, ledger: LedgerStatementImport, readers: Mapping[StatementFormat, Reader], minor_units: MinorUnits
    ) -> None:
        self._ledger = ledger
        self._readers = readers
        self._minor_units = minor_units

    def run(
        self,
        file: BinaryIO,
        file_name: str,
        source: StatementSource,
        actor: str,
        *,
        is_trial: bool = False,
        accepts_differences: bool = False,
        progress: Progress = lambda _: None,
    ) -> ImportReport:
        """Import a file that can be read twice; raises UnreadableStatement, and then nothing is stored.

        `is_trial`: read and judge everything, and store nothing.
        """
        file_hash, size = _hash_of(file)
        with self._ledger.begin(source.name) as session:
            earlier = session.import_of(source, file_hash)
            if earlier is not None:
                session.discard()
                return ImportReport(earlier_import_id=earlier)
            tally = FileTally()
            events = self._readers[source.format](file, source.options(), self._minor_units)
            session.stage(_staged(_reported(events, file, progress), tally, source.name))
            tally.end()
            stated = StatementFile(source, file_hash, file_name, size, actor)
            withheld = _withheld(source, tally, accepts_differences=accepts_differences)
            return _stored(session, stated, tally, is_stored=not (is_trial or withheld), withheld=withheld)


def _hash_of(file: BinaryIO) -> tuple[bytes, int]:
    """The hash and size of a file, which is back at its beginning."""
    digest, size = sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    return digest.digest(), size


def _reported(events: Iterable[StatementEvent], file: BinaryIO, progress: Progress) -> Iterator[StatementEvent]:
    for n, event in enumerate(events):
        if n % PROGRESS_LINES == 0:
            progress(file.tell())
        yield event


def _staged(events: Iterable[StatementEvent], tally: FileTally, source_name: str) -> Iterator[StagedLine]:
    """The lines as the ledger takes them, while everything is added up."""
    for event in events:
        tally.take(event, MOST_REFUSED)
        if isinstance(event, StatementLine):
            yield _staged_line(tally.line_count, event, tally.statements[event.statement], source_name)


def _staged_line(n: int, line: StatementLine, statement: StatementTally, source_name: str) -> StagedLine:
    content = line.content(statement.head.currency_code)
    return StagedLine(
        n,
        line.statement,
        line.line,
        line.position,
        identity_of(source_name, statement.head, line, content),
        content,
        line.booked_on,
        line.value_on,
        line.amount_minor,
        line.line_id or None,
        line.kind,
        line.reference,
        line.batch_id,
        line.counterparty,
        line.text,
        json.dumps(dict(line.details), ensure_ascii=False),
    )


def _withheld(source: StatementSource, tally: FileTally, *, accepts_differences: bool) -> str:
    """Why a file is shown and not stored; empty where it is stored."""
    if not tally.statements and not tally.refused_count:
        return ""
    if not tally.line_count and tally.refused_count:
        return "every line was refused"
    if source.format is StatementFormat.CSV and tally.has_unexplained_differences and not accepts_differences:
        return "the running balance contradicts the lines, so the mapping of the source is wrong or lines are missing"
    return ""


def _stored(
    session: ImportSession, file: StatementFile, tally: FileTally, *, is_stored: bool, withheld: str
) -> ImportReport:
    """Store the import and report; in a trial the same is done and discarded, so that a trial tells the truth."""
    statements = list(tally.statements.values())
    judged = session.judge()
    breaks = [*tally.refused, *(difference for one in statements for difference in one.differences)]
    stored = session.store(file, statements, judged, breaks, tally.refused_count)
    if not is_stored:
        session.discard()
    return ImportReport(
        import_id=stored.import_id if is_stored else None,
        withheld=withheld,
        line_count=tally.line_count,
        refused_count=tally.refused_count,
        judged=_sum(judged.values()),
        statements=statements,
        breaks=stored.breaks,
        explained_payouts=stored.explained_payouts,
        late=stored.late,
    )


def _sum(judged: Iterable[Judged]) -> Judged:
    total = Judged()
    for one in judged:
        total.added += one.added
        total.added_minor += one.added_minor
        total.known += one.known
        total.reused += one.reused
    return total
