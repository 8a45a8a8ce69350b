"""Statements: sources, what was imported, which accounts are matched, one statement with its lines, and the upload."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.api.fields import number_of
from app.dashboard.context import here
from app.dashboard.formats import read_day
from app.dashboard.frame import actor, entity, for_print, needs
from app.dashboard.requests import Filters
from app.domain.account_lists import AccountFilter, ListedAccount
from app.domain.accounts import AccountType
from app.domain.refusals import Refusal
from app.domain.statement import UnreadableStatement
from app.domain.statement_source import InvalidOptions, StatementFormat, StatementSource
from app.domain.users import Role
from app.services.statements.sources import save_source

pages = Blueprint("statements", __name__)

LISTED = 50
LINES = 200
LINES_IN_PRINT = 2_000
BREAKS = 50

OFFERED = 500
"""Accounts of the ledger offered to be linked."""

CSV_NEEDS = "A CSV file needs a source that is saved before with a mapping of its columns"
CSV_COMMAND = "python3 -m app statements sources NAME --format csv --options mapping.json"

Page = str | Response | tuple[str, int]


@pages.get("/statements")
def page() -> Page:
    """Everything about statements on one page."""
    return _page()


def _page(refusal: str | None = None, report: object = None) -> str:
    api = here().api
    accounts = api.matching.accounts.all()
    reads = api.match_decisions.reads
    return render_template(
        "statements.html",
        refusal=refusal,
        form=request.form if refusal else {},
        report=report,
        accounts=[(one, reads.counts(one.statement_account_id), reads.last_run(one)) for one in accounts],
        unlinked=[(*one, api.matching.accounts.first_day(*one)) for one in api.matching.accounts.unlinked()],
        assets=_assets(),
        csv_needs=CSV_NEEDS,
        csv_command=CSV_COMMAND,
        sources=api.statements.sources(),
        imports={one.source_name: one for one in api.statements.last_imports()},
        late=api.statements.late_lines(),
        statements=api.statements.latest(LISTED),
        formats=[one for one in StatementFormat if one is not StatementFormat.CSV],
    )


def _assets() -> list[ListedAccount]:
    """Accounts that a bank's account may be."""
    wanted = AccountFilter(entity_id=entity(), type=AccountType.ASSET)
    return here().lists.accounts(wanted, limit=OFFERED, after=None)


@pages.post("/statements/import")
@needs(Role.ACCOUNTANT)
def upload() -> Page:
    """Import a file; the same file again changes nothing."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _page("Choose a file to import. Nothing was stored."), 422
    try:
        source = _source(request.form.get("source", ""), request.form.get("format", ""))
        report = here().api.imports.run(
            file.stream,  # type: ignore[arg-type]  # a file that can be read twice
            file.filename[:200],
            source,
            actor(),
            is_trial="trial" in request.form,
            accepts_differences="accepts_differences" in request.form,
        )
    except (UnreadableStatement, InvalidOptions) as error:
        return _page(f"{error}. Nothing was stored."), 422
    return _page(report=report)


def _source(name: str, format: str) -> StatementSource:
    """The source of that name, which is saved first if it is new and a format is named with it."""
    found = here().api.statements.source(name.strip())
    if found is not None:
        return found
    if format not in list(StatementFormat) or format == StatementFormat.CSV:
        known = f"There is no source {name!r}; name one of the sources, or a new one with its format"
        raise InvalidOptions(f"{known}. {CSV_NEEDS}: {CSV_COMMAND}")
    return save_source(here().api.statements, StatementSource(name.strip(), StatementFormat(format)), actor())[0]


@pages.post("/statements/link")
@needs(Role.CONTROLLER)
def link_account() -> Page:
    """Say which account of the ledger a statement's account is."""
    places = here().api.matching.accounts.unlinked()
    number = number_of(request.form.get("place", ""))
    if number is None or number >= len(places):
        abort(400)
    source_name, account_ref, currency_code = places[number]
    try:
        starts_on = read_day(request.form["starts_on"]) if request.form.get("starts_on") else None
    except ValueError as error:
        return _page(f"{error} Nothing was saved."), 422
    account_id = request.form.get("account_id", "").strip()
    outcome = here().api.matching.save(
        source_name, account_ref, currency_code, account_id, actor(), starts_on=starts_on
    )
    if isinstance(outcome, Refusal):
        return _page(f"{outcome.detail} Nothing was saved."), 422
    return redirect(url_for("matching.page", statement_account_id=outcome[0].statement_account_id), 303)


@pages.get("/statements/<int:statement_id>")
def statement(statement_id: int) -> str:
    """One statement: does it add up, what was wrong in its file, and what its lines are matched with."""
    api = here().api
    found = api.statements.statement(statement_id)
    if found is None:
        abort(404)
    filters = Filters()
    limit = LINES_IN_PRINT if for_print() else LINES
    lines = api.statements.lines(statement_id, limit=limit + 1, after=filters.number("after") or 0)
    has_more, lines = len(lines) > limit, lines[:limit]
    accounts = [
        one
        for one in api.matching.accounts.all()
        if (one.source_name, one.account_ref, one.currency_code)
        == (found.source_name, found.account_ref, found.currency_code)
    ]
    return render_template(
        "statement.html",
        statement=found,
        lines=lines,
        has_more=has_more,
        filters=filters,
        matches=api.match_decisions.reads.of_lines([line.statement_line_id for line in lines]),
        breaks=api.statements.breaks(found.import_id, limit=BREAKS),
        account=accounts[0] if accounts else None,
    )
