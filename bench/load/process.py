"""Load processes: each runs one generator and hands its sample back through a pipe.

A process of their own, so that neither the audit nor the report disturbs the clock.
"""

import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.load.client import Sample, closed_loop, open_loop
from bench.load.requests import Source

START_SECONDS = 0.6
"""Until all processes have been started, and connected."""


@dataclass(frozen=True)
class Load:
    """What one load process is to do; `rate` None is a closed loop."""

    address: tuple[str, int]
    source: Source
    connections: int
    seconds: float
    rate: float | None = None
    begin: float = 0.0


def run_load(loads: Sequence[Load]) -> list[Sample]:
    """Runs all of them at the same time."""
    begin = time.monotonic() + START_SECONDS
    command = [sys.executable, "-m", "bench.load.process"]
    children = []
    try:
        for load in loads:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            children.append(child)
            assert child.stdin is not None
            pickle.dump(replace(load, begin=begin), child.stdin)
            child.stdin.close()
        samples = []
        for child in children:
            assert child.stdout is not None
            samples.append(pickle.load(child.stdout))
            child.wait(30)
        return samples
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def main() -> None:
    """Reads a Load, does it, writes the Sample."""
    load: Load = pickle.load(sys.stdin.buffer)
    common = {"connections": load.connections, "begin": load.begin, "seconds": load.seconds}
    if load.rate is None:
        sample = closed_loop(load.address, load.source, **common)
    else:
        sample = open_loop(load.address, load.source, rate=load.rate, **common)
    pickle.dump(sample, sys.stdout.buffer)


if __name__ == "__main__":
    main()
