"""`replay`: play a file of bank movements through the running system as payments."""

import argparse
import csv
import sys
import time
from pathlib import Path

from tqdm import tqdm

from app.commands.connection import connected
from app.commands.proof_output import as_text
from app.domain.bank_file import COLUMNS, Movement, read_movement
from app.services.statements.replay import ReplayReport
from app.settings import Settings
from app.wiring.verbs import build_replay
from app.wiring.workers import build_reconciler


def run(arguments: argparse.Namespace) -> int:
    """Replay, then say what was posted and refused, and reconcile."""
    try:
        movements = _read(arguments.file)
    except (OSError, ValueError, csv.Error) as error:
        print(f"{arguments.file}: {error}. Nothing was sent.", file=sys.stderr)
        return 2
    with connected(arguments.data_dir) as settings:
        _replay(settings, movements, arguments)
        proof = build_reconciler(settings).run(full=False)
    print(as_text(proof))
    return 1 if proof.open_breaks else 0


def _read(path: Path) -> list[Movement]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"the header lacks {', '.join(missing)}")
        return [read_movement(row, line) for line, row in enumerate(rows, start=2)]


def _replay(settings: Settings, movements: list[Movement], arguments: argparse.Namespace) -> None:
    replay = build_replay(settings, arguments.currency)
    accounts = dict.fromkeys(movement.account_id for movement in movements)
    replay.open_accounts(tqdm(accounts, desc="accounts", unit=""), 0 if arguments.floor == "zero" else None)
    started, report = time.monotonic(), ReplayReport()
    with tqdm(total=len(movements), desc="movements", unit="") as progress:
        for number, so_far in replay.run(movements):
            report = so_far
            progress.update(number)
    _tell(report, len(movements), time.monotonic() - started)


def _tell(report: ReplayReport, total: int, seconds: float) -> None:
    print(f"{total:,} movements in {seconds:.1f} s, {total / max(seconds, 0.001):,.0f} a second")
    print(f"  {report.posted:>12,} in the ledger, {report.repeated:,} of them from an earlier run")
    for code, number in report.refused.most_common():
        print(f"  {number:>12,} refused: {code}")
