"""How the operating system shares the cores among a process's threads."""

import os
from contextlib import suppress


def wake_without_haste() -> None:
    """Let no thread of this process push another off its core just by waking; for threads begun after this call.

    A request of the API changes threads several times, and each change may interrupt one that was at work. Linux calls
    the policy SCHED_BATCH; on two busy cores it made a third fewer interruptions and a tenth more payments. Elsewhere,
    and where it is forbidden, nothing changes.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
