"""Statements: save sources, and read what processors and banks have stated, line by line.

Files come in by the command line: a body has bounds, and a statement file may be of any size.
"""

from typing import Annotated, Any

from msgspec import Struct, field

from app.api.fields import Moment, SourceName, number_of, one_of
from app.api.json_body import NO_NUL, RequestObject, malformed
from app.api.parameters import AFTER_NUMBER, LIMIT, any_text
from app.api.request_refusals import statement_not_found
from app.api.responses import Answer, json_answer, page_answer, problem
from app.api.routes import Body, Call, Parameter, Routes
from app.domain.refusals import RefusalCode as Code
from app.domain.statement_proof import StatementProof
from app.domain.statement_records import LineRecord, StatementRecord
from app.domain.statement_source import InvalidOptions, StatementFormat, StatementSource
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.statements.sources import save_source

routes = Routes()

_FORMATS = [one.value for one in StatementFormat]
_PROOFS = [one.value for one in StatementProof]

SOURCE: Parameter[str | None] = Parameter(
    "source_name", any_text, None, {"type": "string", "pattern": NO_NUL}, "Statements of this source only."
)


class NewStatementSource(RequestObject):
    """A source to save. `options` say how its files are written; a CSV source needs its columns."""

    name: SourceName
    format: Annotated[str, one_of(_FORMATS)]
    options: dict[str, Any] = field(default_factory=dict)


class StatementSourceBody(Struct):
    """A source of statements. A change makes a new version; earlier imports name the version they were read with."""

    name: str
    version: int
    format: Annotated[str, one_of(_FORMATS)]
    options: dict[str, Any]
    created_by: str
    created_at: Moment | None


class StatementBody(Struct):
    """One statement; amounts in minor units, days as the bank wrote them.

    `line_count` and `lines_minor` are of the file; `added_count` of its lines were new and are read below it.
    `difference_minor` is closing minus opening minus lines, null where the bank states no balances; `missing` says why
    a statement is not provable.
    """

    statement_id: str
    import_id: str
    source_name: str
    account_ref: str
    currency_code: str
    minor_units: int
    name: str
    first_on: str | None
    last_on: str | None
    opening_minor: int | None
    opening_on: str | None
    closing_minor: int | None
    closing_on: str | None
    line_count: int
    lines_minor: int
    added_count: int
    refused_count: int
    not_booked_count: int
    page_count: int
    proof: Annotated[str, one_of(_PROOFS)]
    difference_minor: int | None
    missing: str


class StatementLineBody(Struct):
    """One movement as the bank states it; minor units, money in is positive.

    `line` and `position` say where it stands in its file. `line_id` is the bank's id, null where it has none;
    `batch_id` is the payout or the batch booking that it is part of.
    """

    statement_line_id: str
    line: int
    position: int
    booked_on: str
    value_on: str | None
    amount_minor: int
    line_id: str | None
    kind: str
    reference: str
    batch_id: str | None
    counterparty: str
    text: str
    details: dict[str, str]


@routes.add(
    "POST",
    "/v1/statement-sources",
    "Save a source of statements; the same again answers 200, another content makes a new version",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(NewStatementSource),
    answers={201: StatementSourceBody, 200: StatementSourceBody},
)
def save_statement_source(call: Call[NewStatementSource]) -> Answer:
    """Save a source, once for each content."""
    try:
        wanted = StatementSource(call.body.name, StatementFormat(call.body.format), call.body.options)
        source, is_new = save_source(call.here.statements, wanted, call.actor)
    except InvalidOptions as error:
        raise malformed(f"{error}.", field=error.field) from None
    except ValueError:
        raise malformed(f"format must be one of {', '.join(_FORMATS)}.", field="format") from None
    return json_answer(_source_body(source), 201 if is_new else 200)


@routes.add(
    "GET",
    "/v1/statement-sources",
    "List the newest version of each source of statements, by name",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementSourceBody},
    paged=True,
)
def list_statement_sources(call: Call[None]) -> Answer:
    """All sources: an installation has a few."""
    data = [_source_body(source) for source in call.here.statements.sources()]
    return json_answer({"data": data, "next": None})


@routes.add(
    "GET",
    "/v1/statements",
    "List statements in the order of their import, with their sums and proofs",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementBody},
    parameters=(LIMIT, AFTER_NUMBER, SOURCE),
    paged=True,
)
def list_statements(call: Call[None]) -> Answer:
    """One page of statements."""
    limit = call[LIMIT]
    found = call.here.statements.statements(limit=limit, after=call[AFTER_NUMBER], source_name=call[SOURCE])
    cursor = str(found[-1].statement_id) if found else None
    return page_answer([_statement_body(one) for one in found], limit, cursor)


@routes.add(
    "GET",
    "/v1/statements/{statement_id}",
    "Read one statement with its balances and its proof",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_statement(call: Call[None]) -> Answer:
    """One statement."""
    found = _found(call)
    return (
        problem(statement_not_found(call.path["statement_id"]))
        if found is None
        else json_answer(_statement_body(found))
    )


@routes.add(
    "GET",
    "/v1/statements/{statement_id}/lines",
    "The lines that a statement has brought, in the order of its file",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementLineBody},
    parameters=(LIMIT, AFTER_NUMBER),
    refuses=frozenset({Code.NOT_FOUND}),
    paged=True,
)
def list_statement_lines(call: Call[None]) -> Answer:
    """One page of lines."""
    statement = _found(call)
    if statement is None:
        return problem(statement_not_found(call.path["statement_id"]))
    limit = call[LIMIT]
    lines = call.here.statements.lines(statement.statement_id, limit=limit, after=call[AFTER_NUMBER])
    cursor = str(lines[-1].statement_line_id) if lines else None
    return page_answer([_line_body(line) for line in lines], limit, cursor)


def _found(call: Call[None]) -> StatementRecord | None:
    number = number_of(call.path["statement_id"])
    return None if number is None else call.here.statements.statement(number)


def _source_body(source: StatementSource) -> StatementSourceBody:
    created_at = rfc3339(source.created_at) if source.created_at else None
    return StatementSourceBody(
        source.name, source.version, source.format.value, dict(source.raw_options), source.created_by, created_at
    )


def _statement_body(one: StatementRecord) -> StatementBody:
    days = (one.first_on, one.last_on, one.opening_on, one.closing_on)
    first_on, last_on, opening_on, closing_on = (None if day is None else day.isoformat() for day in days)
    return StatementBody(
        statement_id=str(one.statement_id),
        import_id=str(one.import_id),
        source_name=one.source_name,
        account_ref=one.account_ref,
        currency_code=one.currency_code,
        minor_units=one.minor_units,
        name=one.name,
        first_on=first_on,
        last_on=last_on,
        opening_minor=one.opening_minor,
        opening_on=opening_on,
        closing_minor=one.closing_minor,
        closing_on=closing_on,
        line_count=one.line_count,
        lines_minor=one.lines_minor,
        added_count=one.added_count,
        refused_count=one.refused_count,
        not_booked_count=one.not_booked_count,
        page_count=one.page_count,
        proof=one.proof,
        difference_minor=one.difference_minor,
        missing=one.missing,
    )


def _line_body(line: LineRecord) -> StatementLineBody:
    return StatementLineBody(
        statement_line_id=str(line.statement_line_id),
        line=line.line,
        position=line.position,
        booked_on=line.booked_on.isoformat(),
        value_on=None if line.value_on is None else line.value_on.isoformat(),
        amount_minor=line.amount_minor,
        line_id=line.line_id,
        kind=line.kind,
        reference=line.reference,
        batch_id=line.batch_id,
        counterparty=line.counterparty,
        text=line.text,
        details=dict(line.details),
    )
