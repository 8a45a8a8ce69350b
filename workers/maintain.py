"""The maintenance worker: reconciles and signs heads in the background, and pauses so that payments have the cores.

It also does what people have asked of the reconciliation, and runs a full one when that is due.
"""

import logging
import time
from functools import cache

from app.domain.errors import Fault
from app.heads_files import HeadExport
from app.logs import configure_logging
from app.services.proofs.chain_verification import Leisure
from app.services.proofs.reconciliation import Reconciler
from app.services.proofs.requested_proofs import RequestedProofs
from app.wakeup import MAINTENANCE_QUEUE
from app.wiring.evidence import build_head_export
from app.wiring.proofs import build_requested_proofs
from app.wiring.workers import build_reconciler
from workers.process import settings, work

log = logging.getLogger(__name__)


@cache
def _reconciler() -> Reconciler:
    return build_reconciler(settings(), Leisure(time.monotonic, time.sleep))


@cache
def _requested() -> RequestedProofs:
    return build_requested_proofs(settings(), _reconciler())


@cache
def _heads() -> HeadExport:
    return build_head_export(settings(), Leisure(time.monotonic, time.sleep))


def reconcile() -> None:
    """Do what people asked for, run one reconciliation, then sign the heads that are due; a job of RQ."""
    _reconcile()
    try:
        _heads().run_once()
    except (Fault, OSError) as fault:
        log.error("heads not signed, they are tried again: %s: %s", type(fault).__name__, fault)


def _reconcile() -> None:
    try:
        _requested().run_once()
        report = _reconciler().run(full=_requested().is_full_due(settings().full_reconcile_hours))
    except Fault as fault:
        log.error("reconciliation not finished, the next one starts over: %s: %s", type(fault).__name__, fault)
        return
    for found in report.healed:
        log.error("healed %s on %s: %s", found.kind.value, found.subject, found.figures)
    for found in report.breaks:
        log.error("break %s on %s: %s", found.kind.value, found.subject, found.figures)


if __name__ == "__main__":
    configure_logging("maintain", settings().log_format)
    work(MAINTENANCE_QUEUE)
