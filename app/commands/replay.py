"""`replay`: play a file of bank movements through the running system as payments."""

import argparse
import sys
import time
from datetime import UTC, datetime

from tqdm import tqdm

from app.commands.connection import connected
from app.commands.proofs import as_text
from app.domain.bank_file import Movement, read_movements
from app.domain.csv_file import MalformedFile
from app.services.statements.replay import ReplayReport
from app.settings import Settings
from app.wiring.services import build_replay
from app.wiring.workers import build_reconciler

MOST_SHOWN = 20
"""Refused movements shown one by one; their number is in the totals."""


def run(arguments: argparse.Namespace) -> int:
    """Replay, then say what was posted and refused, and reconcile."""
    try:
        with arguments.file.open("rb") as file:
            movements = list(read_movements(file, datetime.now(UTC)))
    except (OSError, MalformedFile) as error:
        print(f"{arguments.file}: {error}. Nothing was sent.", file=sys.stderr)
        return 2
    with connected(arguments.data_dir) as settings:
        report = _replay(settings, movements, arguments)
        proof = build_reconciler(settings).run(full=False)
    print(as_text(proof))
    return 1 if report.refused_for_content or proof.open_breaks else 0


def _replay(settings: Settings, movements: list[Movement], arguments: argparse.Namespace) -> ReplayReport:
    replay = build_replay(settings, arguments.currency)
    accounts = dict.fromkeys(movement.account_id for movement in movements)
    replay.open_accounts(tqdm(accounts, desc="accounts", unit=""), 0 if arguments.floor == "zero" else None)
    started, report = time.monotonic(), ReplayReport()
    with tqdm(total=len(movements), desc="movements", unit="") as progress:
        for number, so_far in replay.run(movements):
            report = so_far
            progress.update(number)
    _tell(report, time.monotonic() - started)
    return report


def _tell(report: ReplayReport, seconds: float) -> None:
    total = report.movements
    print(f"{total:,} movements in {seconds:.1f} s, {total / max(seconds, 0.001):,.0f} a second")
    refused = report.refused.total()
    print(f"{report.posted:,} posted + {report.repeated:,} repeated + {refused:,} refused = {total:,} movements")
    print(f"  {len(report.in_ledger):>12,} transactions of the file are in the ledger")
    for code, number in report.refused.most_common():
        print(f"  {number:>12,} refused: {code}")
    for line, refusal in report.refused_for_content[:MOST_SHOWN]:
        print(f"line {line}: {refusal.code}: {refusal.detail}", file=sys.stderr)
    if len(report.refused_for_content) > MOST_SHOWN:
        print(f"and {len(report.refused_for_content) - MOST_SHOWN:,} more", file=sys.stderr)
