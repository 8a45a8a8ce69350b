"""`reconcile`: prove that the cache and the ledger agree. Exit code 1 while a break is open, for cron."""

import argparse
import sys

from app.commands.connection import connected
from app.commands.keys import ACTOR
from app.commands.proof_output import as_json, as_text, repair_as_text
from app.ledger.cache_identity import LedgerCacheIdentity
from app.wiring.verbs import build_repair
from app.wiring.workers import build_reconciler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much to check, whether to repair, and how to report."""
    parser.add_argument("--full", action="store_true", help="check everything, not only what is new")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--repair",
        metavar="REASON",
        help="check everything, rebuild from the ledger what is wrong in the cache, and check again; the reason is "
        "kept in the audit trail",
    )
    parser.add_argument(
        "--accept-losses",
        metavar="REASON",
        help="close the breaks that say what a replaced cache has lost, which no run can: somebody has seen to the "
        "payments that they name; the reason is kept with them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Reconcile once, or reconcile, repair and reconcile again."""
    for option, reason in (("--repair", arguments.repair), ("--accept-losses", arguments.accept_losses)):
        if reason is not None and not reason.strip():
            print(f"{option} needs a reason, which is kept on record. Nothing was done.", file=sys.stderr)
            return 2
    with connected(arguments.data_dir) as settings:
        losses = LedgerCacheIdentity(settings.database_url)
        if arguments.accept_losses is not None:
            losses.accept_losses(ACTOR, arguments.accept_losses.strip())
        if arguments.repair is None:
            report = build_reconciler(settings).run(full=arguments.full)
            report.breaks += losses.open_losses()
            print(as_json(report) if arguments.json else as_text(report))
        else:
            repair = build_repair(settings).run(ACTOR, arguments.repair.strip())
            report = repair.proof
            report.breaks += losses.open_losses()
            print(as_json(repair) if arguments.json else repair_as_text(repair))
    return 1 if report.open_breaks else 0
