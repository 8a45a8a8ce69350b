"""`reconcile`: prove that cache and books agree. Exit code 1 while a break is open, for cron."""

import argparse
import json
import sys
from dataclasses import asdict

from app.commands.keys import ACTOR
from app.commands.proofs import as_json, as_text
from app.commands.session import connected
from app.domain.proof import ProofReport
from app.services.repair import RepairReport
from app.wiring.verbs import build_repair
from app.wiring.workers import build_reconciler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much to look at, what to do about it, and how to tell."""
    parser.add_argument("--full", action="store_true", help="look at everything, not only at what is new")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--repair",
        metavar="REASON",
        help="look at everything, make what is wrong in the cache anew from the books, and look again; the reason is "
        "kept in the audit trail",
    )


def run(arguments: argparse.Namespace) -> int:
    """Reconcile once, or reconcile, repair and reconcile again."""
    if arguments.repair is not None and not arguments.repair.strip():
        print("--repair needs a reason, which is kept in the audit trail. Nothing was done.", file=sys.stderr)
        return 2
    with connected(arguments.data_dir) as settings:
        if arguments.repair is None:
            report = build_reconciler(settings).run(full=arguments.full)
            print(as_json(report) if arguments.json else as_text(report))
        else:
            repair = build_repair(settings).run(ACTOR, arguments.repair.strip())
            report = repair.proof
            print(json.dumps(asdict(repair), indent=2) if arguments.json else _repair_as_text(repair))
    return _exit_code(report)


def _repair_as_text(repair: RepairReport) -> str:
    lines = [
        f"REPAIRED {account_id}: {found.kind.value} {found.figures}"
        for account_id, breaks in repair.repaired.items()
        for found in breaks
    ]
    if repair.in_doubt:
        kinds = ", ".join(sorted({found.kind.value for found in repair.in_doubt}))
        lines.append(
            f"Nothing was repaired: the cache is made from the books, and these are in doubt themselves ({kinds})."
        )
    elif not lines:
        lines.append("Nothing is wrong in the cache; nothing was repaired.")
    return "\n".join([*lines, as_text(repair.proof)])


def _exit_code(report: ProofReport) -> int:
    return 1 if report.open_breaks else 0
