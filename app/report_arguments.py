"""What can be typed after `python3 -m app reports`; with the standard library only, as in `app/arguments.py`."""

import argparse
from datetime import UTC, datetime, timedelta

from app.argument_values import accept_data_dir
from app.domain.timestamps import parse_time


def reports_options(parser: argparse.ArgumentParser) -> None:
    """The options of `reports`."""
    parser.epilog = "Exit codes: 0 when the report is proved, 1 when it is not."
    actions = parser.add_subparsers(dest="action", required=True)
    trial = actions.add_parser("trial-balance", help="debits and credits of every account", epilog=parser.epilog)
    sheet = actions.add_parser("balance-sheet", help="assets, liabilities, equity and results", epilog=parser.epilog)
    income = actions.add_parser("income-statement", help="revenue, expenses and the result", epilog=parser.epilog)
    for action in (sheet, income):
        action.add_argument(
            "--from", dest="begins_at", type=_beginning, metavar="TIME", help="when the period begins (the first entry)"
        )
    for action in (trial, sheet, income):
        action.add_argument(
            "--to",
            dest="ends_at",
            type=_end,
            metavar="TIME",
            help="the last moment that counts, a day or a time (now)",
        )
        action.add_argument(
            "--by", choices=("effective", "posted"), default="effective", help="which time counts (default %(default)s)"
        )
        action.add_argument("--entity", metavar="ENTITY", help="of this entity only (default: all)")
        action.add_argument("--currency", metavar="CODE", help="in this currency only (default: all)")
        action.add_argument("--csv", action="store_true", help="print CSV, every account of it")
    accept_data_dir(actions)


def _beginning(text: str) -> datetime:
    """A day in UTC, or a time of RFC 3339."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if len(text) == 10 else parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day nor a time, e.g. 2026-01-31T09:30:00Z") from None


def _end(text: str) -> datetime:
    """The same; of a day, its last moment."""
    begins_at = _beginning(text)
    try:
        after = begins_at + timedelta(days=1)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} lies at the end of the calendar") from None
    return after - timedelta(milliseconds=1) if len(text) == 10 else begins_at
