"""`statements sign-off` and `reopen`: what a period looks like, signing it off, and opening it again.

A part of `app/commands/statements.py`, in a file of its own.
"""

import argparse
import sys
from collections.abc import Sequence

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
)
from app.domain.actors import actor_in_words
from app.domain.match_records import StatementAccount
from app.domain.refusals import Refusal
from app.domain.sign_off import PeriodFigures, SignOff, first_broken, last_signed
from app.domain.timestamps import rfc3339
from app.domain.wording import counted
from app.ledger.sign_offs import LedgerSignOffs
from app.services.accounts.assets import Assets
from app.settings import Settings
from app.wiring.services import build_assets, build_engine
from app.wiring.statements import build_matching


def sign_off(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show what the next period looks like, and sign it if asked to; without --through, show what is signed."""
    engine = build_engine(settings, "statements")
    matching, ledger = build_matching(settings), LedgerSignOffs(engine)
    accounts = chosen(matching, arguments)
    if not accounts:
        return NOTHING
    if arguments.through is not None and len(accounts) == 1:
        return _sign_off(accounts[0], ledger, build_assets(engine), arguments)
    if arguments.through is not None:
        return asks_for_one(accounts)
    if arguments.sign or arguments.remark:
        print("Say with --through which day is the last one. Nothing was signed off.", file=sys.stderr)
        return NOTHING
    return _tell_chains(ledger, accounts)


def _sign_off(account: StatementAccount, ledger: LedgerSignOffs, assets: Assets, arguments: argparse.Namespace) -> int:
    remark = arguments.remark or ""
    figures = ledger.next_period(account, arguments.through)
    bars = figures.bars(remark)
    if figures.is_empty:
        print(f"{named(account)}: {' '.join(bars)}", file=sys.stderr)
        return NOTHING
    _tell_period(figures, account, assets)
    if not arguments.sign:
        for sentence in bars:
            print(f"  {sentence}", file=sys.stderr)
        return LOOK if bars else DONE
    signed = ledger.sign(account.statement_account_id, arguments.through, remark, ACTOR)
    if isinstance(signed, Refusal):
        print(f"Not signed off. {signed.detail}", file=sys.stderr)
        return NOTHING
    print(f"Signed off as version {signed.version}, {signed.hash.hex()}.")
    return DONE


def reopen(arguments: argparse.Namespace, settings: Settings) -> int:
    """Open the last signed period again, with a reason; its next version names it."""
    matching, ledger = build_matching(settings), LedgerSignOffs(build_engine(settings, "statements"))
    accounts = chosen(matching, arguments)
    if not accounts:
        return NOTHING
    signed = [one for one in accounts if one.signed_through is not None]
    if not signed:
        print("Nothing is signed off.", file=sys.stderr)
        return NOTHING
    if len(signed) > 1:
        return asks_for_one(signed)
    return _reopen(signed[0], ledger, arguments.reason)


def _reopen(account: StatementAccount, ledger: LedgerSignOffs, reason: str) -> int:
    signed = last_signed(ledger.chain(account.statement_account_id), account.signed_through)
    assert signed is not None
    opened = ledger.reopen(account.statement_account_id, signed.sign_off_id, reason, ACTOR)
    if isinstance(opened, Refusal):
        print(opened.detail, file=sys.stderr)
        return NOTHING
    print(f"{signed.first_on} to {signed.last_on}, version {signed.version}, is open again.")
    return DONE


def _tell_chains(ledger: LedgerSignOffs, accounts: Sequence[StatementAccount]) -> int:
    is_broken = False
    for account in accounts:
        chain = ledger.chain(account.statement_account_id)
        print(f"{named(account)}: {signed_through(account)}")
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
    by = f"by {actor_in_words(one.signed_by)} at {rfc3339(one.signed_at)}"
    return f"{one.sign_off_id} {one.action}: {said}, {by}, {one.hash.hex()}"


def _tell_period(figures: PeriodFigures, account: StatementAccount, assets: Assets) -> None:
    money = money_of(account, assets)
    days = f"{figures.first_on} to {figures.last_on}"
    print(f"{named(account)}, {days}; the bank's opening balance is {figures.opening}")
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
    lines, entries = counted(figures.only_bank_count, "line"), counted(figures.only_ledger_count, "entry", "entries")
    print(f"  less {lines} that only the bank has: {money(figures.only_bank_minor)}")
    print(f"  plus {entries} that only the ledger has: {money(figures.only_ledger_minor)}")
    print(f"  less differences within matches: {money(figures.match_difference_minor)}")
    print(f"  less what was brought forward: {money(figures.brought_forward_minor)}")
    print(f"  = ledger {money(figures.ledger_closing_minor)}; unexplained {money(figures.unexplained_minor)}")
    for one in figures.outstanding[:MOST_SHOWN]:
        who = f"matched on {one.settled_on}" if one.settled_on else one.owner or one.state
        reason = one.reason.replace("_", " ")
        print(f"    {one.day}  {one.side}  {money(one.amount_minor)}  {one.text}: {reason}, {who}")
