"""`reconcile`: prove that cache and books agree. Exit code 1 while a break is open, for cron."""

import argparse

from app.commands.proofs import as_json, as_text
from app.commands.session import connected
from app.wiring.workers import build_reconciler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much to look at, and how to tell."""
    parser.add_argument("--full", action="store_true", help="look at everything, not only at what is new")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Reconcile once."""
    with connected(arguments.data_dir) as settings:
        report = build_reconciler(settings).run(full=arguments.full)
    print(as_json(report) if arguments.json else as_text(report))
    return 1 if report.open_breaks else 0
