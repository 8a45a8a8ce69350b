"""`statements link`, `match`, `unmatched`, `confirm` and `undo`: matching with the ledger.

A part of `app/commands/statements.py`, in a file of its own.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from app.commands.connection import ACTOR
from app.commands.statement_accounts import (
    DONE,
    LOOK,
    MOST_SHOWN,
    NOTHING,
    asks_for_one,
    chosen,
    money_of,
    named,
    signed_through,
    wanted,
)
from app.domain.match_records import (
    MatchRecord,
    MatchState,
    NewMatch,
    OutsideState,
    RunReport,
    StatementAccount,
    UnmatchedItem,
)
from app.domain.matching_rules import InvalidRules, Rule, read_rules
from app.domain.refusals import Refusal
from app.domain.timestamps import rfc3339
from app.domain.wording import counted
from app.ledger.match_reads import LedgerMatchReads
from app.ledger.matches import LedgerMatches
from app.services.accounts.assets import Assets
from app.services.statements.matching import Matching
from app.settings import Settings
from app.wiring.services import build_assets, build_engine
from app.wiring.statements import build_matching

PAGE = 500


def link(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say which account of the ledger a statement's account is; without arguments, list what is linked and what not."""
    matching = build_matching(settings)
    if arguments.source is None and arguments.account is None:
        return _list_links(matching)
    try:
        outcome = _saved(matching, arguments)
    except InvalidRules as error:
        print(f"{error}. Nothing was saved.", file=sys.stderr)
        return NOTHING
    if isinstance(outcome, Refusal):
        print(f"{outcome.detail} Nothing was saved.", file=sys.stderr)
        return NOTHING
    account, is_new = outcome
    print(f"{named(account)} is {'saved as' if is_new else 'already'} version {account.version}.")
    return DONE


def _saved(matching: Matching, arguments: argparse.Namespace) -> tuple[StatementAccount, bool] | Refusal:
    """Save what is said; where nothing is said of the first day or of rules, those that are saved stay."""
    if arguments.source is None or arguments.account is None:
        raise InvalidRules("say with --source which source it is, and with --account which account of the ledger")
    stated = _stated(matching, arguments)
    known = next((one for one in matching.accounts.all() if _stated_as(one) == stated), None)
    starts_on, rules = arguments.starts_on, arguments.rules and _raw_rules(arguments.rules)
    if known is not None:
        starts_on = known.starts_on if starts_on is None else starts_on
        rules = known.raw_rules if rules is None else rules
    return matching.save(*stated, arguments.account, ACTOR, starts_on=starts_on, rules=rules)


def _stated_as(account: StatementAccount) -> tuple[str, str, str]:
    return account.source_name, account.account_ref, account.currency_code


def _list_links(matching: Matching) -> int:
    for account in matching.accounts.all():
        print(f"{account.statement_account_id}  {named(account)}  version {account.version}, {signed_through(account)}")
    unlinked = matching.accounts.unlinked()
    for source, reference, currency in unlinked:
        print(f"not linked: {source}  {reference or 'account'}  {currency}")
    return LOOK if unlinked else DONE


def _stated(matching: Matching, arguments: argparse.Namespace) -> tuple[str, str, str]:
    """The account of a source that is meant: the only one, or the one that is named."""
    known = [_stated_as(one) for one in matching.accounts.all()]
    stated = [
        one
        for one in [*known, *matching.accounts.unlinked()]
        if one[0] == arguments.source and arguments.ref in (None, one[1]) and arguments.currency in (None, one[2])
    ]
    if len(stated) == 1:
        return stated[0]
    if not stated:
        raise InvalidRules(f"no statement of {wanted(arguments)} was imported")
    names = ", ".join(f"{reference or 'account'} in {currency}" for _, reference, currency in stated)
    raise InvalidRules(f"say which account of {arguments.source!r} with --ref and --currency: there are {names}")


def match(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the saved rules over one source or all; or try other rules and store nothing; or match by hand."""
    matching, engine = build_matching(settings), build_engine(settings, "statements")
    accounts = chosen(matching, arguments)
    if not accounts:
        return NOTHING
    if arguments.lines or arguments.entries:
        return _by_hand(accounts, arguments, LedgerMatches(engine))
    try:
        rules = None if arguments.trial is None else read_rules(_raw_rules(arguments.trial))
    except InvalidRules as error:
        print(f"{error}. Nothing was matched.", file=sys.stderr)
        return NOTHING
    reports = [_run(matching, account, rules) for account in accounts]
    for account, report in zip(accounts, reports, strict=True):
        _tell(account, report, is_trial=rules is not None)
    if rules is not None:
        return LOOK if any(report.suggested for report in reports) else DONE
    return _tell_unmatched(LedgerMatchReads(engine), accounts, build_assets(engine))


def _by_hand(accounts: Sequence[StatementAccount], arguments: argparse.Namespace, matches: LedgerMatches) -> int:
    if len(accounts) > 1:
        return asks_for_one(accounts)
    if arguments.reason is None:
        print("Say with --reason why. Nothing was matched.", file=sys.stderr)
        return NOTHING
    new = NewMatch(accounts[0].statement_account_id, arguments.lines, arguments.entries, arguments.reason)
    made = matches.make(new, ACTOR, accepts_difference=arguments.accept_difference)
    return _decided(made if isinstance(made, Refusal) else None, f"Match {made} stands.")


def _run(matching: Matching, account: StatementAccount, rules: Sequence[Rule] | None) -> RunReport:
    with tqdm(unit=" entries", unit_scale=True, disable=None, leave=False) as bar:
        return matching.run(account, ACTOR, trial_rules=rules, progress=partial(_advance, bar))


def _advance(bar: "tqdm[object]", number: int) -> None:
    bar.update(number - bar.n)


def _raw_rules(path: Path) -> list[object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRules(f"{path} is no JSON: {error}") from None
    if not isinstance(found, list):
        raise InvalidRules(f"{path} must hold a list of rules")
    return found


def _tell(account: StatementAccount, report: RunReport, *, is_trial: bool) -> None:
    entries = counted(report.entry_count, "open entry", "open entries")
    counts = f"{counted(report.line_count, 'open line')}, {entries}"
    print(f"{named(account)}: {counts}: {report.matched:,} matched, {report.suggested:,} suggested")
    for rule, number in report.by_rule.items():
        print(f"  {number:,} by {rule!r}")
    if is_trial:
        print(f"  a trial: nothing was stored; {report.agreeing:,} of these matches stand already")
        return
    changes = f"{report.new_breaks:,} new, {report.resolved_breaks:,} settled"
    reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in report.open_breaks.items())
    print(f"  without a match: {reasons or 'nothing'} ({changes})")


def _tell_unmatched(reads: LedgerMatchReads, accounts: Sequence[StatementAccount], assets: Assets) -> int:
    """Show the first items of each account; the exit code says whether something waits for people."""
    for account in accounts:
        items = reads.unmatched(account.statement_account_id, limit=MOST_SHOWN + 1)
        for one in items[:MOST_SHOWN]:
            print(_unmatched(one, account, assets), file=sys.stderr)
        if len(items) > MOST_SHOWN:
            print(f"{account.source_name}: and more; statements unmatched lists all", file=sys.stderr)
    return _code(reads, accounts)


def _code(reads: LedgerMatchReads, accounts: Sequence[StatementAccount]) -> int:
    return LOOK if any(reads.undecided(one.statement_account_id) for one in accounts) else DONE


def unmatched(arguments: argparse.Namespace, settings: Settings) -> int:
    """List what has no match with the suggested reasons, and the suggestions that wait for a decision."""
    matching, engine = build_matching(settings), build_engine(settings, "statements")
    reads, assets, accounts = LedgerMatchReads(engine), build_assets(engine), chosen(matching, arguments)
    if not accounts:
        return NOTHING
    for account in accounts:
        after = 0
        while page := reads.unmatched(account.statement_account_id, limit=PAGE, after=after):
            for one in page:
                print(_unmatched(one, account, assets))
            after = page[-1].unmatched_item_id
        for suggestion in _suggestions(reads, account):
            print(_suggested(suggestion, account, assets))
    return _code(reads, accounts)


def _suggestions(reads: LedgerMatchReads, account: StatementAccount) -> Iterator[MatchRecord]:
    after, state = 0, MatchState.SUGGESTED
    while page := reads.matches(account.statement_account_id, state=state, limit=PAGE, after=after):
        yield from page
        after = page[-1].match_id


def _suggested(one: MatchRecord, account: StatementAccount, assets: Assets) -> str:
    amount = money_of(account, assets)(one.lines_minor)
    lines = ", ".join(f"line {line.statement_line_id} {line.reference or line.text}".rstrip() for line in one.lines)
    entries = ", ".join(f"entry {entry.entry_number} {entry.external_id}" for entry in one.entries)
    parts = f"{one.settled_on}  {amount} {account.currency_code}  suggested as match {one.match_id}"
    return f"{account.source_name}: {parts} by {one.rule!r}: {lines} = {entries}"


def confirm(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make a match of a suggestion."""
    matches = LedgerMatches(build_engine(settings, "statements"))
    return _decided(matches.confirm(arguments.match, arguments.reason, ACTOR), f"Match {arguments.match} stands.")


def undo(arguments: argparse.Namespace, settings: Settings) -> int:
    """Undo a match, or say that a suggestion is none; the rules do not bring the same together again."""
    matches = LedgerMatches(build_engine(settings, "statements"))
    return _decided(matches.undo(arguments.match, arguments.reason, ACTOR), f"Match {arguments.match} is undone.")


def _decided(refusal: Refusal | None, done: str) -> int:
    if refusal is not None:
        print(refusal.detail, file=sys.stderr)
        return NOTHING
    print(done)
    return DONE


def _unmatched(one: UnmatchedItem, account: StatementAccount, assets: Assets) -> str:
    money = money_of(account, assets)
    parts = [f"{one.booked_on}  {money(one.amount_minor)} {account.currency_code}  {one.reason.replace('_', ' ')}"]
    if one.line is not None:
        parts.append(f"line {one.line.statement_line_id} {one.line.reference or one.line.text}".rstrip())
    if one.entry is not None:
        other = "" if one.other_minor is None else f" of {money(one.other_minor)}"
        parts.append(f"entry {one.entry.entry_number} {one.entry.external_id}{other}")
    if one.resembles:
        parts.append(f"like {one.resembles}")
    if one.owner:
        parts.append(f"with {one.owner}")
    if one.state is OutsideState.ACCEPTED:
        parts.append("accepted")
    return ": ".join([account.source_name, ", ".join(parts)])


def tell_status(settings: Settings) -> bool:
    """Say how far each account is matched and signed off; whether there is nothing to look at."""
    matching, reads = build_matching(settings), LedgerMatchReads(build_engine(settings, "statements"))
    is_done = True
    for account in matching.accounts.all():
        matched, suggested, lines, entries = reads.counts(account.statement_account_id)
        run = reads.last_run(account)
        when = "never matched" if run is None else f"matched {rfc3339(run.run_at)}"
        counts = f"{counted(matched, 'match', 'matches')}, {counted(suggested, 'suggestion')}, "
        counts += f"{counted(lines, 'line')} and {counted(entries, 'entry', 'entries')} without one"
        print(f"{named(account)}: {when}: {counts}; {signed_through(account)}")
        is_done &= run is not None and not reads.undecided(account.statement_account_id)
    return is_done
