"""What can be typed after `python3 -m app statements`; a part of `app/arguments.py`, in a file of its own."""

from __future__ import annotations

import argparse

from app.argument_values import accept_data_dir, count, counts, currency_code, day, existing_file, reason

EXIT_CODES = (
    "Exit codes: 0 when all is well; 1 when somebody has to look, because a line was refused, an id is used again with "
    "another content, sums differ, a suggestion is undecided, or something has no match and nobody has accepted it; 2 "
    "when nothing was stored."
)


def statements_options(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    from app.domain.statement_source import StatementFormat

    formats = [one.value for one in StatementFormat]
    parser.epilog = EXIT_CODES
    actions = parser.add_subparsers(dest="action", required=True)
    read = actions.add_parser("import", help="import a file; the same file again changes nothing", epilog=EXIT_CODES)
    read.add_argument("file", type=existing_file, metavar="FILE", help="the file of the processor or bank")
    read.add_argument("--source", required=True, metavar="NAME", help="whose files these are")
    read.add_argument("--format", choices=formats, help="saves the source if it is new; csv needs a saved mapping")
    read.add_argument("--trial", action="store_true", help="read and judge everything, and store nothing")
    read.add_argument(
        "--accept-differences",
        action="store_true",
        help="store a CSV file although its running balance contradicts its lines",
    )
    fetch = actions.add_parser("fetch", help="fetch what is new from Stripe's API, with HOLDFAST_STRIPE_KEY")
    fetch.add_argument("--source", default="stripe", metavar="NAME", help="saved if it is new (default %(default)s)")
    fetch.add_argument("--since", type=day, metavar="DAY", help="default: two days before the newest line")
    sources = actions.add_parser("sources", help="list the sources, or save one; a change makes a new version")
    sources.add_argument("name", nargs="?", metavar="NAME", help="the source to save")
    sources.add_argument("--format", choices=formats, default="csv", help="of its files (default %(default)s)")
    sources.add_argument("--options", type=existing_file, metavar="FILE.json", help="how its files are written")
    actions.add_parser("status", help="the last imports, and how far they are matched; 1 while something is open")
    listed = actions.add_parser("list", help="all statements with their sums and proofs")
    listed.add_argument("--source", metavar="NAME", help="of this source only")
    _matching(actions)
    accept_data_dir(actions)


def _matching(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    link = actions.add_parser("link", help="say which account of the ledger a statement's account is; or list them")
    link.add_argument("--account", metavar="ACCOUNT_ID", help="the account of the ledger")
    first = "matching begins here (default: as before, at first the first day stated)"
    link.add_argument("--starts-on", type=day, metavar="DAY", help=first)
    rules = "a list of rules, tried in order (default: as before, at first the same amount, which only suggests)"
    link.add_argument("--rules", type=existing_file, metavar="FILE.json", help=rules)
    match = actions.add_parser("match", help="match what is open by the saved rules", epilog=EXIT_CODES)
    match.add_argument("--trial", type=existing_file, metavar="FILE.json", help="try these rules and store nothing")
    by_hand = "match by hand: the numbers of lines, as statements unmatched names them, with commas between them"
    match.add_argument("--lines", type=counts, default=(), metavar="LINES", help=by_hand)
    match.add_argument("--entries", type=counts, default=(), metavar="ENTRIES", help="and of entries")
    match.add_argument("--reason", type=reason, metavar="REASON", help="why; it is kept with what is matched by hand")
    match.add_argument("--accept-difference", action="store_true", help="although both sides do not add up to the same")
    listed = actions.add_parser("unmatched", help="list what has no match, with suggested reasons, and the suggestions")
    for name, what in (("confirm", "make a match of a suggestion"), ("undo", "undo a match or a suggestion")):
        decide = actions.add_parser(name, help=what)
        decide.add_argument("match", type=count, metavar="MATCH_ID", help="as statements unmatched names it")
        decide.add_argument("--reason", type=reason, required=True, metavar="REASON", help="why; it is kept")
    sign = actions.add_parser("sign-off", help="what is signed off; with --through, the next period and what bars it")
    sign.add_argument("--through", type=day, metavar="DAY", help="the last day of the period")
    sign.add_argument("--sign", action="store_true", help="sign it off: from then on it stays as it is")
    sign.add_argument("--remark", type=reason, metavar="TEXT", help="kept with the signature")
    reopen = actions.add_parser("reopen", help="open the last signed period again, for a new version")
    reopen.add_argument("--reason", type=reason, required=True, metavar="REASON", help="why; it is kept")
    for action in (link, match, listed, sign, reopen):
        action.add_argument("--source", metavar="NAME", help="of this source only")
        action.add_argument("--ref", metavar="TEXT", help="the account's name at the bank, where a source has several")
        action.add_argument("--currency", type=currency_code, metavar="CODE", help="where an account has several")
