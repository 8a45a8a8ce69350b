"""`statements link`, `match`, `unmatched`, `sign-off` and `reopen`: matching with the ledger and signing off.

A part of `app/commands/statements.py`, in a file of its own.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from app.commands.amounts import as_money
from app.commands.connection import ACTOR
from app.domain.match_records import RunReport, StatementAccount, UnmatchedItem
from app.domain.matching_rules import InvalidRules, Rule, read_rules
from app.domain.refusals import Refusal
from app.domain.sign_off import PeriodFigures, SignOff, first_broken, last_signed
from app.domain.timestamps import rfc3339
from app.ledger.match_reads import LedgerMatchReads
from app.ledger.sign_offs import LedgerSignOffs
from app.services.accounts.assets import Assets
from app.services.statements.matching import Matching
from app.settings import Settings
from app.wiring.services import build_assets, build_engine
from app.wiring.statements import build_matching

MOST_SHOWN = 50
PAGE = 500

DONE, LOOK, NOTHING = 0, 1, 2
"""Exit codes: all is well; somebody has to look; nothing was done."""


def link(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say which account of the ledger a statement's account is; without arguments, list what is linked and what not."""
    matching = build_matching(settings)
    if arguments.source is None:
        return _list_links(matching)
    try:
        if arguments.account is None:
            raise InvalidRules("say with --account which account of the ledger it is")
        source, reference, currency = _stated(matching, arguments)
        outcome = matching.save(
            source,
            reference,
            currency,
            arguments.account,
            ACTOR,
            starts_on=arguments.starts_on,
            rules=None if arguments.rules is None else _raw_rules(arguments.rules),
        )
    except InvalidRules as error:
        print(f"{error}. Nothing was saved.", file=sys.stderr)
        return NOTHING
    if isinstance(outcome, Refusal):
        print(f"{outcome.detail} Nothing was saved.", file=sys.stderr)
        return NOTHING
    account, is_new = outcome
    print(f"{_named(account)} is {'saved as' if is_new else 'already'} version {account.version}.")
    return DONE


def _list_links(matching: Matching) -> int:
    for account in matching.accounts.all():
        print(f"{account.statement_account_id}  {_named(account)}  version {account.version}, {_signed(account)}")
    unlinked = matching.accounts.unlinked()
    for source, reference, currency in unlinked:
        print(f"not linked: {source}  {reference or 'account'}  {currency}")
    return LOOK if unlinked else DONE


def _stated(matching: Matching, arguments: argparse.Namespace) -> tuple[str, str, str]:
    """The account of a source that is meant: the only one, or the one that is named."""
    known = [(one.source_name, one.account_ref, one.currency_code) for one in matching.accounts.all()]
    stated = [
        one
        for one in [*known, *matching.accounts.unlinked()]
        if one[0] == arguments.source and arguments.ref in (None, one[1]) and arguments.currency in (None, one[2])
    ]
    if len(stated) == 1:
        return stated[0]
    names = ", ".join(f"{reference or 'account'} in {currency}" for _, reference, currency in stated)
    which = f"there are {names}" if names else "no statement of it was imported"
    raise InvalidRules(f"say which account of {arguments.source!r} with --ref and --currency: {which}")


def match(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the saved rules over one source or all; with a file of rules, try those and store nothing."""
    matching, assets = build_matching(settings), build_assets(build_engine(settings, "statements"))
    accounts = _chosen(matching, arguments)
    if not accounts:
        print("No statement account is linked to the ledger; see statements link.", file=sys.stderr)
        return NOTHING
    try:
        rules = None if arguments.trial is None else read_rules(_raw_rules(arguments.trial))
    except InvalidRules as error:
        print(f"{error}. Nothing was matched.", file=sys.stderr)
        return NOTHING
    needs_look = False
    for account in accounts:
        report = _run(matching, account, rules)
        _tell(account, report, is_trial=rules is not None)
        needs_look |= bool(report.open_breaks or report.suggested)
    if rules is None:
        _tell_unmatched(settings, accounts, assets)
    return LOOK if needs_look else DONE


def _run(matching: Matching, account: StatementAccount, rules: Sequence[Rule] | None) -> RunReport:
    with tqdm(unit=" entries", unit_scale=True, disable=None, leave=False) as bar:
        return matching.run(account, ACTOR, trial_rules=rules, progress=partial(_advance, bar))


def _advance(bar: "tqdm[object]", number: int) -> None:
    bar.update(number - bar.n)


def _chosen(matching: Matching, arguments: argparse.Namespace) -> list[StatementAccount]:
    """The linked accounts that are meant."""
    return [
        one
        for one in matching.accounts.all()
        if arguments.source in (None, one.source_name)
        and arguments.ref in (None, one.account_ref)
        and arguments.currency in (None, one.currency_code)
    ]


def _raw_rules(path: Path) -> list[object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRules(f"{path} is no JSON: {error}") from None
    if not isinstance(found, list):
        raise InvalidRules(f"{path} must hold a list of rules")
    return found


def _tell(account: StatementAccount, report: RunReport, *, is_trial: bool) -> None:
    counts = f"{report.line_count:,} open lines, {report.entry_count:,} open entries"
    print(f"{_named(account)}: {counts}: {report.matched:,} matched, {report.suggested:,} suggested")
    for rule, number in report.by_rule.items():
        print(f"  {number:,} by {rule!r}")
    if is_trial:
        print(f"  a trial: nothing was stored; {report.agreeing:,} of these matches stand already")
        return
    changes = f"{report.new_breaks:,} new, {report.resolved_breaks:,} settled"
    reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in report.open_breaks.items())
    print(f"  without a match: {reasons or 'nothing'} ({changes})")


def _tell_unmatched(settings: Settings, accounts: Sequence[StatementAccount], assets: Assets) -> None:
    reads = LedgerMatchReads(build_engine(settings, "statements"))
    for account in accounts:
        items = reads.unmatched(account.statement_account_id, limit=MOST_SHOWN)
        for one in items:
            print(_unmatched(one, account, assets), file=sys.stderr)


def unmatched(arguments: argparse.Namespace, settings: Settings) -> int:
    """List what has no match, with the suggested reasons."""
    matching, assets = build_matching(settings), build_assets(build_engine(settings, "statements"))
    reads, needs_look = LedgerMatchReads(build_engine(settings, "statements")), False
    for account in _chosen(matching, arguments):
        after = 0
        while page := reads.unmatched(account.statement_account_id, limit=PAGE, after=after):
            for one in page:
                print(_unmatched(one, account, assets))
            needs_look, after = True, page[-1].unmatched_item_id
    return LOOK if needs_look else DONE


def _unmatched(one: UnmatchedItem, account: StatementAccount, assets: Assets) -> str:
    money = _money(account, assets)
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
    return ": ".join([account.source_name, ", ".join(parts)])


def sign_off(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show what the next period looks like, and sign it if asked to; without --through, show what is signed."""
    matching, ledger = build_matching(settings), LedgerSignOffs(build_engine(settings, "statements"))
    assets = build_assets(build_engine(settings, "statements"))
    accounts = _chosen(matching, arguments)
    if arguments.through is None:
        return _tell_chains(ledger, accounts)
    if len(accounts) != 1:
        print("Name one linked source; statements link lists them.", file=sys.stderr)
        return NOTHING
    [account] = accounts
    figures = ledger.next_period(account, arguments.through)
    _tell_period(figures, account, assets)
    if not arguments.sign:
        return LOOK if figures.missing() else DONE
    signed = ledger.sign(account.statement_account_id, arguments.through, arguments.remark or "", ACTOR)
    if isinstance(signed, Refusal):
        print(f"Not signed off. {signed.detail}", file=sys.stderr)
        return NOTHING
    print(f"Signed off as version {signed.version}, {signed.hash.hex()}.")
    return DONE


def reopen(arguments: argparse.Namespace, settings: Settings) -> int:
    """Open the last signed period again, with a reason; its next version names it."""
    matching, ledger = build_matching(settings), LedgerSignOffs(build_engine(settings, "statements"))
    for account in _chosen(matching, arguments):
        signed = last_signed(ledger.chain(account.statement_account_id), account.signed_through)
        if signed is None:
            continue
        opened = ledger.reopen(account.statement_account_id, signed.sign_off_id, arguments.reason, ACTOR)
        if isinstance(opened, Refusal):
            print(opened.detail, file=sys.stderr)
            return NOTHING
        print(f"{signed.first_on} to {signed.last_on}, version {signed.version}, is open again.")
        return DONE
    print("Nothing is signed off.", file=sys.stderr)
    return NOTHING


def _tell_chains(ledger: LedgerSignOffs, accounts: Sequence[StatementAccount]) -> int:
    is_broken = False
    for account in accounts:
        chain = ledger.chain(account.statement_account_id)
        print(f"{_named(account)}: {_signed(account)}")
        for one in chain:
            print(f"  {_record(one)}")
        broken = first_broken(chain)
        if broken is not None:
            is_broken = True
            print(f"  record {broken.number} does not match its hash: it was changed", file=sys.stderr)
    return LOOK if is_broken else DONE


def _record(one: SignOff) -> str:
    names = f", in place of {one.former_id}" if one.former_id else ""
    said = f"{one.first_on} to {one.last_on}, version {one.version}{names}"
    return f"{one.sign_off_id} {one.action}: {said}, by {one.signed_by} at {rfc3339(one.signed_at)}, {one.hash.hex()}"


def _tell_period(figures: PeriodFigures, account: StatementAccount, assets: Assets) -> None:
    money = _money(account, assets)
    days = f"{figures.first_on} to {figures.last_on}"
    print(f"{_named(account)}, {days}; the bank's opening balance is {figures.opening}")
    for name, opening, into, out, closing in (
        ("bank", figures.bank_opening_minor, figures.bank_in_minor, figures.bank_out_minor, figures.bank_closing_minor),
        (
            "ledger",
            figures.ledger_opening_minor,
            figures.ledger_in_minor,
            figures.ledger_out_minor,
            figures.ledger_closing_minor,
        ),
    ):
        print(f"  {name}: {money(opening)} + in {money(into)} + out {money(out)} = {money(closing)}")
    print(f"  bank {money(figures.bank_closing_minor)}")
    print(f"  less {figures.only_bank_count:,} lines that only the bank has: {money(figures.only_bank_minor)}")
    print(f"  plus {figures.only_ledger_count:,} entries that only the ledger has: {money(figures.only_ledger_minor)}")
    print(f"  less differences within matches: {money(figures.match_difference_minor)}")
    print(f"  less what was brought forward: {money(figures.brought_forward_minor)}")
    print(f"  = ledger {money(figures.ledger_closing_minor)}; unexplained {money(figures.unexplained_minor)}")
    for one in figures.outstanding[:MOST_SHOWN]:
        who = f"matched on {one.settled_on}" if one.settled_on else one.owner or one.state
        reason = one.reason.replace("_", " ")
        print(f"    {one.day}  {one.side}  {money(one.amount_minor)}  {one.text}: {reason}, {who}")
    for sentence in figures.missing():
        print(f"  {sentence}", file=sys.stderr)


def _money(account: StatementAccount, assets: Assets) -> "partial[str]":
    asset = assets.get(account.currency_code)
    return partial(as_money, minor_units=2 if asset is None else asset.minor_units)


def _named(account: StatementAccount) -> str:
    reference = f" {account.account_ref}" if account.account_ref else ""
    return f"{account.source_name}{reference} {account.currency_code} = {account.account_id}"


def _signed(account: StatementAccount) -> str:
    return "nothing signed off" if account.signed_through is None else f"signed off through {account.signed_through}"


def tell_status(settings: Settings) -> bool:
    """Say how far each account is matched and signed off; whether there is nothing to look at."""
    matching, reads = build_matching(settings), LedgerMatchReads(build_engine(settings, "statements"))
    is_done = True
    for account in matching.accounts.all():
        matched, suggested, lines, entries = reads.counts(account.statement_account_id)
        run = reads.last_run(account)
        when = "never matched" if run is None else f"matched {rfc3339(run.run_at)}"
        counts = f"{matched:,} matches, {suggested:,} suggestions, {lines:,} lines and {entries:,} entries without one"
        print(f"{_named(account)}: {when}: {counts}; {_signed(account)}")
        is_done &= not (suggested or lines or entries) and run is not None
    return is_done
