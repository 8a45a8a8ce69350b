"""Ties a process to its parent, so that nothing outlives a supervisor that was killed outright."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Asks the kernel to send `signal_number` to this process as soon as its parent is gone.

    For grandchildren of the supervisor (the API server's own workers): the direct children are tied by
    the launcher. SIGKILL by default, because a parent that vanished cannot wait for an orderly end, and
    every unit of work here is safe to repeat. Does nothing where the kernel has no such service.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    is_orphan = parent == 1 or os.getppid() != parent  # already before the request, or just now
    if is_orphan:
        os.kill(os.getpid(), signal_number)
