"""The statement accounts that a command names, and how commands write them.

A part of `app/commands/statements.py`, in a file of its own.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from app.domain.match_records import StatementAccount
from app.domain.money import as_money
from app.services.accounts.assets import Assets
from app.services.statements.matching import Matching

MOST_SHOWN = 50
"""Items shown one by one of each account."""

DONE, LOOK, NOTHING = 0, 1, 2
"""Exit codes: all is well; somebody has to look; nothing was done."""


def chosen(matching: Matching, arguments: argparse.Namespace) -> list[StatementAccount]:
    """The linked accounts that are meant; says so if there is none, for a wrong name must not look like no work."""
    found = [
        one
        for one in matching.accounts.all()
        if arguments.source in (None, one.source_name)
        and arguments.ref in (None, one.account_ref)
        and arguments.currency in (None, one.currency_code)
    ]
    if not found:
        which = wanted(arguments)
        print(f"No statement account{which and f' of {which}'} is linked; see statements link.", file=sys.stderr)
    return found


def wanted(arguments: argparse.Namespace) -> str:
    """What is asked for, in words."""
    parts = [f"the source {arguments.source!r}"] if arguments.source is not None else []
    parts += [f"the account {arguments.ref!r}"] if arguments.ref is not None else []
    parts += [f"the currency {arguments.currency}"] if arguments.currency is not None else []
    return " and ".join(parts)


def money_of(account: StatementAccount, assets: Assets) -> "partial[str]":
    """How amounts of an account are written."""
    asset = assets.get(account.currency_code)
    return partial(as_money, minor_units=2 if asset is None else asset.minor_units)


def named(account: StatementAccount) -> str:
    """An account in one line: what it is at the bank, and in the ledger."""
    reference = f" {account.account_ref}" if account.account_ref else ""
    return f"{account.source_name}{reference} {account.currency_code} = {account.account_id}"


def asks_for_one(accounts: Sequence[StatementAccount]) -> int:
    """Says which accounts there are where only one can be meant; the exit code."""
    print(f"Name one with --source, --ref and --currency: {', '.join(map(named, accounts))}.", file=sys.stderr)
    return NOTHING


def signed_through(account: StatementAccount) -> str:
    """How far an account is signed off, in words."""
    return "nothing signed off" if account.signed_through is None else f"signed off through {account.signed_through}"
