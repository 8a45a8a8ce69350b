"""The options of `bench` and `reports`; with the standard library only, as in `app/arguments.py`."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.argument_values import count, counts, data_directory, existing_file, seconds
from app.domain.timestamps import parse_time


def bench_options(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all but growth; `list` names them")
    parser.add_argument(
        "--duration", type=seconds, default=2.0, metavar="S", help="seconds a round (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=count, default=3, metavar="N", help="rounds a contestant (default %(default)s)"
    )
    parser.add_argument(
        "--connections", type=counts, default=(1, 16, 64, 256), metavar="N,N", help="default 1,16,64,256"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--report", type=Path, metavar="DIRECTORY", help="write tables, plots and a page there")
    parser.add_argument(
        "--sustained", type=seconds, default=20.0, metavar="S", help="seconds of the batch scenario (20)"
    )
    parser.add_argument("--accounts", type=count, default=1_000, metavar="N", help="accounts in the small case (1000)")
    parser.add_argument(
        "--growth-accounts", type=count, default=1_000_000, metavar="N", help="accounts of growth (1000000)"
    )
    parser.add_argument(
        "--growth-entries", type=count, default=10_000_000, metavar="N", help="entries of growth (10000000)"
    )
    parser.add_argument("--tigerbeetle", type=existing_file, metavar="PATH", help="its program, to compare with it too")


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
        action.add_argument("--data-dir", type=data_directory, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


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
