"""Scenarios: each a function of the arena that adds figures. The table below is their order in a run and a report."""

from collections.abc import Callable

from bench.arena import Arena
from bench.scenarios import (
    authorizations,
    balance,
    batch,
    cost,
    drain,
    growth,
    memory,
    open_loop,
    payments,
    script,
    wait,
)

SCENARIOS: dict[str, Callable[[Arena], None]] = {
    "uniform": payments.uniform,
    "zipf": payments.zipf,
    "hot_source": payments.hot_source,
    "hot_merchant": payments.hot_merchant,
    "balance": balance.run,
    "wait": wait.run,
    "open_loop": open_loop.run,
    "cost": cost.run,
    "authorizations": authorizations.run,
    "batch": batch.run_json,
    "ndjson": batch.run_lines,
    "drain": drain.run,
    "script": script.run,
    "memory": memory.run,
    "growth": growth.run,
}

NOT_BY_DEFAULT = ("growth",)
"""It loads ten million entries, which takes minutes."""
