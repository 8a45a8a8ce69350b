"""`reconcile`: prove that the cache and the ledger agree. Exit code 1 while a break is open, for cron."""

import argparse

from app.commands.connection import connected
from app.commands.keys import ACTOR
from app.commands.proof_output import as_json, as_text, repair_as_text
from app.ledger.cache_identity import LedgerCacheIdentity
from app.wiring.services import build_repair
from app.wiring.workers import build_reconciler


def run(arguments: argparse.Namespace) -> int:
    """Reconcile once, or reconcile, repair and reconcile again."""
    with connected(arguments.data_dir) as settings:
        losses = LedgerCacheIdentity(settings.database_url)
        if arguments.accept_losses is not None:
            losses.accept_losses(ACTOR, arguments.accept_losses.strip())
        if arguments.repair is None:
            report = build_reconciler(settings).run(full=arguments.full)
            report.breaks += losses.open_losses()
            print(as_json(report) if arguments.json else as_text(report))
        else:
            repair = build_repair(settings).run(ACTOR, arguments.repair)
            report = repair.proof
            report.breaks += losses.open_losses()
            print(as_json(repair) if arguments.json else repair_as_text(repair))
    return 1 if report.open_breaks else 0
