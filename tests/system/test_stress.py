"""Many clients write at once; afterwards everything is recomputed from what they were told."""

import os
import time

import pytest

from tests.system.harness import System
from tests.system.load import Plan, audit, open_wallets, run_processes

PAYMENTS = 200_000 if os.environ.get("HOLDFAST_LONG") == "1" else 20_000
PROCESSES, THREADS = 4, 8
HOT, COLD = 4, 300


@pytest.mark.timeout(1_800)
def test_parallel_writes_lose_nothing_overdraw_nothing_and_post_nothing_twice(system: System) -> None:
    opening = open_wallets(system, "stress", HOT + COLD, 2_000)
    names = list(opening)
    plans = [
        Plan(system.port, system.key, tuple(names[:HOT]), tuple(names[HOT:]), PAYMENTS // PROCESSES, THREADS, seed)
        for seed in range(PROCESSES)
    ]
    started = time.monotonic()
    sent = run_processes(plans)
    seconds = time.monotonic() - started
    system.wait_posted()
    posted_s = time.monotonic() - started
    counts = audit(system, sent, opening)
    assert len(sent) == PAYMENTS
    assert counts["replays"] >= 0.15 * PAYMENTS
    assert counts["accepted"] >= 0.5 * PAYMENTS
    assert counts["insufficient_funds"] >= 1, "funds ran short somewhere, or nothing was tried"
    assert set(counts) <= {"requests", "replays", "unknown", "accepted", "insufficient_funds"}
    assert counts["unknown"] == 0
    print(f"\n{PROCESSES * THREADS} clients, {counts}: {counts['requests'] / seconds:,.0f} requests/s, "
          f"all posted after {posted_s:.1f} s")  # fmt: skip
    system.prove()
