"""The maintenance worker: reconciles in the background, with pauses that leave the cores to payments."""

import logging
import time
from functools import cache

from app.domain.errors import Fault
from app.logs import configure_logging
from app.services.proofs.chain_verification import Leisure
from app.services.proofs.reconciliation import Reconciler
from app.wakeup import MAINTENANCE_QUEUE
from app.wiring.workers import build_reconciler
from workers.process import settings, work

log = logging.getLogger(__name__)


@cache
def _reconciler() -> Reconciler:
    return build_reconciler(settings(), Leisure(time.monotonic, time.sleep))


def reconcile() -> None:
    """Run one incremental reconciliation; a job of RQ."""
    try:
        report = _reconciler().run(full=False)
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
