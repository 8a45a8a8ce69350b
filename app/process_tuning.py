"""Settings of the interpreter and the operating system that make the API and the drain faster; each was measured."""

import gc
import os
from contextlib import suppress

API_COLLECT_EVERY = 5_000
"""New objects between two garbage collections in the API. A batch makes some ten objects per payment that live as long
as its answer: Python's 700 cost a batch a fifteenth of its time, 5,000 cost nothing measurable. A higher number makes
pauses: a request with a variable in its path leaves a cycle of eight objects, and 50,000 objects took 45 ms."""

DRAIN_COLLECT_EVERY = 50_000
"""The same in the drain. A round makes tens of thousands of objects and leaves no cycles: Python's 700 cost the drain a
quarter of its time."""


def wake_without_preempting() -> None:
    """Keep threads of this process from taking a core from another thread just by waking; for threads started later.

    A request of the API changes threads several times, and each change may interrupt a thread at work. Linux calls the
    policy SCHED_BATCH; on two busy cores it made a third fewer interruptions and a tenth more payments. Elsewhere, and
    where it is forbidden, nothing changes.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def tune_api_collection() -> None:
    """Collect garbage less often in an API process; call it when the application is built."""
    gc.freeze()
    gc.set_threshold(API_COLLECT_EVERY, 20, 50)


def tune_drain_collection() -> None:
    """Collect garbage seldom in a drain, and never look at what was imported; call it when everything is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(DRAIN_COLLECT_EVERY, 20, 20)
