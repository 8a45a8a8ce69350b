"""Importing a statement file over the API: the file in a JSON body, up to a bound; larger ones by the command line."""

import io
from typing import Annotated

from msgspec import Meta, Struct

from app.api.fields import Count, Name, SourceName, one_of
from app.api.json_body import NO_NUL, RequestObject, malformed
from app.api.request_refusals import unknown_source
from app.api.responses import Answer, json_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.refusals import RefusalCode as Code
from app.domain.statement import UnreadableStatement
from app.domain.statement_proof import StatementBreak, StatementBreakKind
from app.services.access.api_keys import Scope
from app.services.statements.imports import ImportReport

routes = Routes()

LARGEST_UPLOAD = 32 * 1024 * 1024
"""Bytes of the body: a file of some 24 MB, a hundred thousand lines. The command line takes files of any size."""

MOST_TOLD = 1_000

BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class NewStatementImport(RequestObject):
    """A file to import, in Base64. `trial`: read and judge everything, and store nothing.

    `accepts_differences`: store a CSV file although its running balance contradicts its lines.
    """

    source_name: SourceName
    file_name: Name
    content: Annotated[bytes, Meta(extra_json_schema={"pattern": BASE64})]
    trial: bool = False
    accepts_differences: bool = False


class StatementBreakBody(Struct):
    """Something wrong with an imported file: where, and what."""

    kind: Annotated[str, one_of([one.value for one in StatementBreakKind])]
    line: Count
    position: Count
    detail: Annotated[str, Meta(extra_json_schema={"pattern": NO_NUL})]


class StatementImportBody(Struct):
    """What has become of a file.

    `import_id` is null if nothing was stored, in a trial or because of `withheld`; `earlier_import_id` says that the
    same file was imported before and was not read again. `late` says which lines fall in a period that is signed off.
    """

    import_id: str | None
    earlier_import_id: str | None
    withheld: str
    line_count: Count
    added_count: Count
    known_count: Count
    reused_count: Count
    refused_count: Count
    explained_payouts: Count
    late: list[Annotated[str, Meta(extra_json_schema={"pattern": NO_NUL})]]
    proofs: list[str]
    breaks: list[StatementBreakBody]


@routes.add(
    "POST",
    "/v1/statement-imports",
    "Import a statement file; the same file again changes nothing and answers 200",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(NewStatementImport, largest=LARGEST_UPLOAD),
    answers={201: StatementImportBody, 200: StatementImportBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def import_statement(call: Call[NewStatementImport]) -> Answer:
    """Import a file of a saved source."""
    body = call.body
    source = call.here.statements.source(body.source_name)
    if source is None:
        return problem(unknown_source(body.source_name))
    try:
        report = call.here.imports.run(
            io.BytesIO(body.content),
            body.file_name,
            source,
            call.actor,
            is_trial=body.trial,
            accepts_differences=body.accepts_differences,
        )
    except UnreadableStatement as error:
        raise malformed(f"The file cannot be read: {error}. Nothing was stored.", field="content") from None
    return json_answer(_body(report), 201 if report.import_id is not None else 200)


def _body(report: ImportReport) -> StatementImportBody:
    return StatementImportBody(
        import_id=None if report.import_id is None else str(report.import_id),
        earlier_import_id=None if report.earlier_import_id is None else str(report.earlier_import_id),
        withheld=report.withheld,
        line_count=report.line_count,
        added_count=report.judged.added,
        known_count=report.judged.known,
        reused_count=report.judged.reused,
        refused_count=report.refused_count,
        explained_payouts=report.explained_payouts,
        late=[one.sentence for one in report.late],
        proofs=[one.proof.value for one in report.statements],
        breaks=[_break(one) for one in report.breaks[:MOST_TOLD]],
    )


def _break(one: StatementBreak) -> StatementBreakBody:
    return StatementBreakBody(one.kind.value, one.line, one.position, one.detail)
