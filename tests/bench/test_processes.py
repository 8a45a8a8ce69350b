"""The processor time of processes, also of those that end between two looks."""

import subprocess
import sys

from bench.processes import processor_seconds

ENDED = """
import os, sys, time
child = os.fork()
if not child:
    while time.process_time() < 0.4:
        pass
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has waited for it
print("ended", flush=True)
sys.stdin.read()
"""


def test_a_process_that_has_ended_counts_before_its_parent_has_waited_for_it() -> None:
    command = [sys.executable, "-c", ENDED, "workers.drain"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ended\n"
        assert processor_seconds()["drain"] >= 0.2
        parent.communicate("")
