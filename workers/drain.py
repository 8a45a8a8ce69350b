"""The drain worker: posts what waits in the outbox, and settles it."""

import logging
import time
from functools import cache

from app.domain.faults import Fault
from app.services.drain import Drain
from app.wake import DRAIN_QUEUE, Wakes
from app.wiring import build_drain
from workers.process import settings, work

log = logging.getLogger(__name__)

LINGER_S = 0.5
"""How long a drain stays when nothing comes: a wake-up through RQ costs more than some idle looks."""

LONGEST_S = 20.0
"""After this a job ends even under load, well before RQ's timeout, and asks for the next."""

IDLE_LOOK_S = 0.003
"""Between two looks at an empty outbox: short against a client's patience, long enough for payments to gather."""

MARK_S = 0.3
"""How often the mark of a drain at work is renewed; it lasts three times as long."""


@cache
def _drain() -> Drain:
    return build_drain(settings())


@cache
def _wakes() -> Wakes:
    return Wakes(settings().queue_url)


def drain() -> None:
    """Drain until the outbox has been empty for a while; a job of RQ."""
    try:
        _drain_until_idle(_drain())
    except Fault as fault:
        log.error("drain stopped, the sweep will try again: %s: %s", type(fault).__name__, fault)


def _drain_until_idle(drain: Drain) -> None:
    funds = drain.funds
    started = last_work = time.monotonic()
    marked = 0.0
    while (now := time.monotonic()) - last_work < LINGER_S and now - started < LONGEST_S:
        if now - marked > MARK_S:
            funds.mark_awake()
            marked = now
        if drain.run_once().settled:
            last_work = time.monotonic()
        else:
            time.sleep(IDLE_LOOK_S)
    funds.mark_asleep()
    drain.run_once()  # what came after the last look and before the mark was gone
    if now - started >= LONGEST_S:
        _wakes().drain()  # the time was up, not the work: who pays meanwhile sees a backlog and wakes nobody


if __name__ == "__main__":
    work(DRAIN_QUEUE)
