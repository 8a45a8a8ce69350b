"""`statements`: save sources, import files of processors and banks, and tell what was imported and what is wrong."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tqdm import tqdm

from app.commands import matching, sign_off
from app.commands.connection import ACTOR, connected
from app.commands.statement_accounts import DONE, LOOK, NOTHING
from app.domain.money import as_money
from app.domain.statement import Balance, UnreadableStatement
from app.domain.statement_proof import StatementBreak, StatementTally
from app.domain.statement_records import StatementRecord
from app.domain.statement_source import InvalidOptions, StatementFormat, StatementSource
from app.domain.timestamps import rfc3339
from app.domain.wording import counted
from app.ledger.statements import LedgerStatements
from app.services.statements.imports import ImportReport
from app.services.statements.sources import save_source
from app.settings import Settings
from app.statements.stripe_fetch import fetch_stripe
from app.wiring.statements import build_imports, build_statements

MOST_SHOWN = 20
"""Breaks shown one by one; their number is told in full."""

MOST_STATEMENTS = 50
"""Statements shown one by one: a file may hold those of thousands of accounts."""

PAGE = 500


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    actions = {
        "import": _import,
        "fetch": _fetch,
        "sources": _sources,
        "status": _status,
        "list": _list,
        "link": matching.link,
        "match": matching.match,
        "unmatched": matching.unmatched,
        "confirm": matching.confirm,
        "undo": matching.undo,
        "sign-off": sign_off.sign_off,
        "reopen": sign_off.reopen,
    }
    with connected(arguments.data_dir) as settings:
        return actions[arguments.action](arguments, settings)


# Import


def _import(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        source = _source_for(arguments, build_statements(settings))
        report = _imported(arguments, settings, source)
    except (InvalidOptions, UnreadableStatement) as error:
        print(f"{arguments.file}: {error}. Nothing was stored.", file=sys.stderr)
        return NOTHING
    return _tell(report, arguments.file)


def _fetch(arguments: argparse.Namespace, settings: Settings) -> int:
    """Fetch from Stripe into a file that is imported like any other; the same again adds nothing."""
    ledger = build_statements(settings)
    if not settings.stripe_key:
        print("HOLDFAST_STRIPE_KEY is not set: a restricted key that may read balance transactions.", file=sys.stderr)
        return NOTHING
    try:
        source = ledger.source(arguments.source)
        if source is None:
            source = save_source(ledger, StatementSource(arguments.source, StatementFormat.STRIPE), ACTOR)[0]
        if source.format is not StatementFormat.STRIPE:
            raise InvalidOptions(f"the source {source.name!r} is of the format {source.format}")
        with TemporaryFile() as file:
            since = _since(ledger, arguments)
            number = fetch_stripe(file, settings.stripe_key, since, settings.stripe_url)
            if not number:
                print(f"Stripe has nothing new{f' since {rfc3339(since)}' if since else ''}.")
                return DONE
            file.seek(0)
            name = f"stripe-api-{rfc3339(since) if since else 'all'}"
            report = build_imports(settings).run(file, name, source, ACTOR)
    except (InvalidOptions, UnreadableStatement) as error:
        print(f"{error}. Nothing was stored.", file=sys.stderr)
        return NOTHING
    return _tell(report, Path(name))


def _since(ledger: LedgerStatements, arguments: argparse.Namespace) -> datetime | None:
    """From when on to fetch: days are UTC, as in Stripe's reports. Two days overlap, and what is known adds nothing."""
    newest = ledger.newest_day(arguments.source)
    first = arguments.since or (newest and newest - timedelta(days=2))
    return None if first is None else datetime.combine(first, time(), UTC)


def _source_for(arguments: argparse.Namespace, ledger: LedgerStatements) -> StatementSource:
    """The source, which is saved first if it is new and its format needs no mapping.

    Of a source without an import the format may have been a mistake, so it takes another.
    """
    source = ledger.source(arguments.source)
    wanted = arguments.format and StatementFormat(arguments.format)
    if source is None and not wanted:
        raise InvalidOptions(f"there is no source {arguments.source!r}; give its --format, or save it first")
    if source is None:
        return save_source(ledger, StatementSource(arguments.source, wanted), ACTOR)[0]
    if wanted and source.format is not wanted:
        if any(one.source_name == source.name for one in ledger.last_imports()):
            raise InvalidOptions(f"the source {source.name!r} is of the format {source.format}")
        return save_source(ledger, StatementSource(source.name, wanted), ACTOR)[0]
    return source


def _imported(arguments: argparse.Namespace, settings: Settings, source: StatementSource) -> ImportReport:
    path: Path = arguments.file
    with path.open("rb") as file, tqdm(total=path.stat().st_size, unit="B", unit_scale=True, disable=None) as bar:
        return build_imports(settings).run(
            file,
            path.name,
            source,
            ACTOR,
            is_trial=arguments.trial,
            accepts_differences=arguments.accept_differences,
            progress=partial(_advance, bar),
        )


def _advance(bar: Any, position: int) -> None:
    bar.update(position - bar.n)


def _tell(report: ImportReport, path: Path) -> int:
    if report.earlier_import_id is not None:
        print(f"{path} was imported before, as import {report.earlier_import_id}. Nothing has changed.")
        return DONE
    shown = report.statements[:MOST_STATEMENTS]
    for statement in shown:
        print(_stated(statement))
    if len(shown) < len(report.statements):
        print(f"and {counted(len(report.statements) - len(shown), 'more statement')}: statements list shows them")
    judged = report.judged
    counts = f"{judged.added:,} added + {judged.known:,} known + {judged.reused:,} with an id of another line"
    print(f"{counts} = {counted(report.line_count, 'line')}; {report.refused_count:,} refused")
    if report.explained_payouts:
        verb = "is explained by its" if report.explained_payouts == 1 else "are explained by their"
        print(f"{counted(report.explained_payouts, 'payout')} {verb} lines")
    _tell_breaks(report.breaks)
    for late in report.late:
        print(late.sentence, file=sys.stderr)
    if report.withheld:
        print(f"Nothing was stored: {report.withheld}.", file=sys.stderr)
        return NOTHING
    print(f"Stored as import {report.import_id}." if report.import_id else "A trial: nothing was stored.")
    return LOOK if report.breaks or report.late else DONE


def _tell_breaks(breaks: Sequence[StatementBreak]) -> None:
    for one in breaks[:MOST_SHOWN]:
        where = f"line {one.line}" if one.line else "file"
        which = f", movement {one.position}" if one.position else ""
        print(f"{where}{which}: {one.kind}: {one.detail}", file=sys.stderr)
    if len(breaks) > MOST_SHOWN:
        print(f"and {len(breaks) - MOST_SHOWN:,} more", file=sys.stderr)


def _stated(one: StatementTally) -> str:
    head = one.head
    name = f" {head.name}" if head.name else ""
    days = f", {one.first_on} to {one.last_on}" if one.first_on else ""
    money = partial(as_money, minor_units=head.minor_units)
    parts = [
        f"{head.account_ref or 'account'}{name}{days}: opening {_balance(one.opening, head.minor_units)}",
        f"+ {counted(one.line_count, 'line')} of {money(one.sum_minor)}",
        f"= closing {_balance(one.closing, head.minor_units)} {head.currency_code}: {one.proof}",
    ]
    if one.difference_minor:
        parts.append(f"by {money(one.difference_minor)}")
    if one.remark:
        parts.append(f"({one.remark})")
    if one.not_booked_count:
        parts.append(f"; {one.not_booked_count:,} not booked yet")
    return " ".join(parts)


def _balance(balance: Balance | None, minor_units: int) -> str:
    return "unknown" if balance is None else as_money(balance.amount_minor, minor_units)


# Sources


def _sources(arguments: argparse.Namespace, settings: Settings) -> int:
    ledger = build_statements(settings)
    if arguments.name is None:
        for source in ledger.sources():
            print(f"{source.name}  version {source.version}  {source.format}  {json.dumps(dict(source.raw_options))}")
        return DONE
    try:
        wanted = StatementSource(arguments.name, StatementFormat(arguments.format), _options(arguments.options))
        source, is_new = save_source(ledger, wanted, ACTOR)
    except InvalidOptions as error:
        print(f"{error}. Nothing was saved.", file=sys.stderr)
        return NOTHING
    print(f"{source.name} is {'saved as' if is_new else 'already'} version {source.version}.")
    return DONE


def _options(path: Path | None) -> Mapping[str, object]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidOptions(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidOptions(f"{path} must hold one JSON object")
    return found


# What is there


def _status(_: argparse.Namespace, settings: Settings) -> int:
    """The last import of each source, and how far matching is; exit code 1 while there is something to look at."""
    ledger = build_statements(settings)
    imports = ledger.last_imports()
    for one in imports:
        counts = f"{one.added_count:,} added, {one.known_count:,} known, {one.refused_count:,} refused"
        print(
            f"{one.source_name}: import {one.import_id} of {rfc3339(one.imported_at)}, {one.file_name}: "
            f"{counts}, {counted(one.break_count, 'break')}"
        )
        _tell_breaks(ledger.breaks(one.import_id, limit=MOST_SHOWN + 1))
    late = ledger.late_lines()
    for some in late:
        print(f"{some.source_name}: {some.sentence}", file=sys.stderr)
    is_matched = matching.tell_status(settings)
    return LOOK if late or any(one.break_count for one in imports) or not is_matched else DONE


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    ledger, after = build_statements(settings), 0
    if arguments.source is not None and ledger.source(arguments.source) is None:
        print(f"There is no source {arguments.source!r}.", file=sys.stderr)
        return NOTHING
    while page := ledger.statements(limit=PAGE, after=after, source_name=arguments.source):
        for one in page:
            print(_listed(one))
        after = page[-1].statement_id
    return DONE


def _listed(one: StatementRecord) -> str:
    money = partial(as_money, minor_units=one.minor_units)
    opening, closing = ("?" if amount is None else money(amount) for amount in (one.opening_minor, one.closing_minor))
    days = f"{one.first_on or '?'}..{one.last_on or '?'}"
    sums = f"{opening} + {money(one.lines_minor)} = {closing} {one.currency_code}"
    return (
        f"{one.statement_id}  {one.source_name}  {one.account_ref}  {one.name}  {days}  {sums}  "
        f"{counted(one.line_count, 'line')}, {one.added_count:,} added  {one.proof}"
    )
