"""The API's threads do not take the cores from each other."""

import os
import subprocess
import sys

import pytest

SHOW = """
import os, threading
from app.process_tuning import wake_without_preempting
wake_without_preempting()
seen = []
thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
thread.start(); thread.join()
print(seen[0])
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this operating system has no such policy")
def test_threads_started_after_the_call_wake_without_preempting() -> None:
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    assert int(shown.stdout) == os.SCHED_BATCH
