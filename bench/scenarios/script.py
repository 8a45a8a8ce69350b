"""The reserve script inside Redis: microseconds a payment by the server's own count, against one that does nothing.

The calls are recorded while Holdfast makes them, and repeated under other external ids, so that keys and arguments are
exactly the product's. Nobody drains meanwhile: the server's count must hold nothing else.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from app.cache.client import RoundTrips
from app.cache.keys import RESERVE
from app.domain.payment import partition_of
from bench.arena import Arena
from bench.figures import Round
from bench.inside import Inside
from bench.load import workload
from bench.load.workload import Workload, account_id

NOTHING = "return 1"
SINGLE, BATCH = "reserve, one payment a call", "reserve, 100 payments a call"
SPREAD = "reserve, 100 payments over all partitions, a call for each"
NOOP = "(g) no-op script, one payment a call"
PIPELINED = 100
UNIT = "µs a payment inside Redis"

Call = tuple[int, list[Any]]


def run(arena: Arena) -> None:
    """Singles, batches of 100 in one partition and over all, and the no-op, in turn."""
    drawn = workload.uniform(arena.options.accounts)
    inside, system = Inside(arena.system), arena.system
    together = of_one_partition(drawn, system.settings.partitions)
    count = max(200, arena.options.payments // 8)
    noop = system.cache.script_load(NOTHING)
    inside.submit(arena.new_run(), drawn, drawn.enough_for_all())  # no cold account is left
    system.quiesce()
    system.stop_drains()
    try:
        for number in range(arena.options.rounds):
            for title, payments, at_once, sha in (
                (SINGLE, drawn, 1, RESERVE.sha),
                (SPREAD, drawn, 100, RESERVE.sha),
                (BATCH, together, 100, RESERVE.sha),
                (NOOP, drawn, 1, noop),
            ):
                recorded, repeated = arena.new_run(), arena.new_run()
                with recording() as calls:
                    inside.submit(recorded, payments, count, at_once=at_once)
                one = _repeat(arena, _renamed(calls, recorded, repeated), sha, count)
                arena.figures.add("script", title, 0, one, UNIT)
                arena.say(f"script, round {number + 1}: {title}: {one.rate:.1f} µs")
    finally:
        system.start_drains()
    system.quiesce()
    system.auditor.open()
    if system.reconcile().open_breaks:
        for figure in arena.figures.all:
            if figure.scenario == "script":
                figure.rounds[-1].problems.append("reconciliation found open breaks after the repeated calls")


def of_one_partition(drawn: Workload, partitions: int) -> Workload:
    """The payments whose sources lie in partition 0: a call of the script is for one partition."""
    movements = [one for one in drawn.movements if partition_of(account_id(one.source), partitions) == 0]
    return replace(drawn, movements=tuple(movements))


@contextmanager
def recording() -> Iterator[list[Call]]:
    """The calls of the reserve script made meanwhile: number of keys, and keys and arguments."""
    calls: list[Call] = []
    plain = RoundTrips.make

    def make(round_trips: RoundTrips, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        calls.extend((keys, list(values)) for _, sha, keys, *values in evaluations(commands) if sha == RESERVE.sha)
        return plain(round_trips, commands)

    with patch.object(RoundTrips, "make", make):
        yield calls


def evaluations(commands: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The commands that call a script."""
    return [command for command in commands if command[0] == "EVALSHA"]


def _renamed(calls: list[Call], before: str, after: str) -> list[Call]:
    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(before, after)
        return value.replace(before.encode(), after.encode()) if isinstance(value, bytes) else value

    return [(keys, [renamed(value) for value in values]) for keys, values in calls]


def _repeat(arena: Arena, calls: list[Call], sha: str, payments: int) -> Round:
    client = arena.system.cache
    before = _inside_us(client)
    began = time.monotonic()
    for start in range(0, len(calls), PIPELINED):
        pipeline = client.pipeline(transaction=False)
        for keys, values in calls[start : start + PIPELINED]:
            pipeline.evalsha(sha, keys, *values)
        replies = pipeline.execute()
    seconds = time.monotonic() - began
    one = Round((_inside_us(client) - before) / payments, extra={"pipelined_rate": payments / seconds})
    if sha == RESERVE.sha and any(not outcome.startswith("RESERVED|") for reply in replies for outcome in reply[2:]):
        one.problems.append(f"the repeated calls did not reserve: {replies[-1]}")
    return one


def _inside_us(client: Any) -> int:
    statistics = client.info("commandstats").get("cmdstat_evalsha", {"usec": 0})
    return int(statistics["usec"])
