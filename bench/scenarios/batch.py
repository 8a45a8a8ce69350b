"""Batches end to end: from the request to the ledger, with the backlog not growing."""

import threading
import time

from bench.arena import Arena
from bench.drive import of_batches, saturate
from bench.figures import ticks_of
from bench.load import workload
from bench.load.requests import BatchSource

PATH = "/v1/payments/batch"
SIZE = 1_000
CONNECTIONS = 4
"""Few and large: a batch keeps an API process busy for tens of milliseconds."""

WATCH_SECONDS = 0.25


def run_json(arena: Arena) -> None:
    """One JSON document a batch."""
    _run(arena, "batch", lines=False)


def run_lines(arena: Arena) -> None:
    """One line a payment."""
    _run(arena, "ndjson", lines=True)


def _run(arena: Arena, scenario: str, *, lines: bool) -> None:
    drawn = workload.uniform(arena.options.accounts)
    seconds = arena.options.sustained_seconds if scenario == "batch" else arena.options.seconds
    for number in range(1 if scenario == "batch" else arena.options.rounds):
        run = arena.new_run()
        source = BatchSource(PATH, arena.system.headers, run, drawn, SIZE, lines)
        watch = BacklogWatch(arena)
        outcome = saturate(arena.system.address, source, connections=CONNECTIONS, seconds=seconds)
        backlog = watch.stop()
        ids = of_batches(outcome, source)
        acknowledged_rate = outcome.round.rate * SIZE
        arena.holdfast.finish_ids(run, drawn, outcome, list(ids), seconds)
        outcome.round.ticks = _posted_ticks(arena, run)
        outcome.round.extra["acknowledged_rate"] = acknowledged_rate
        # Only what reached the ledger counts, the time to catch up included.
        catch_up_s = outcome.round.extra.pop("catch_up_s", 0.0)
        outcome.round.extra.pop("posted_rate", None)
        outcome.round.rate = len(arena.system.posted(run)) / (seconds + catch_up_s)
        outcome.round.extra["catch_up_s"] = catch_up_s
        outcome.round.extra["backlog_mid"], outcome.round.extra["backlog_end"] = backlog
        arena.figures.add(scenario, arena.holdfast.title, CONNECTIONS, outcome.round, "posted payments/s")
        state = "INVALID" if outcome.round.problems else f"{outcome.round.rate:,.0f} posted/s"
        arena.say(f"{scenario}, round {number + 1}: {state}, backlog {backlog[0]:,.0f} → {backlog[1]:,.0f}")


def _posted_ticks(arena: Arena, run: str) -> list[int]:
    rows = arena.system.database.execute(
        """SELECT extract(epoch FROM posted_at)::float FROM ledger_transaction
        WHERE external_id >= %s AND external_id < %s""",
        (f"{run}-", f"{run}."),
    )
    return ticks_of([row[0] for row in rows])


class BacklogWatch:
    """Samples the backlog while load runs: its mean in the middle and at the end shows whether it grows."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._seen: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """Mean backlog in the third quarter and in the last one."""
        self._stopped.set()
        self._thread.join()
        quarter = max(1, len(self._seen) // 4)
        middle, end = self._seen[-2 * quarter : -quarter] or [0.0], self._seen[-quarter:] or [0.0]
        return sum(middle) / len(middle), sum(end) / len(end)

    def _look(self) -> None:
        started = time.monotonic()
        while not self._stopped.wait(WATCH_SECONDS):
            backlog = self._arena.system.backlog()
            if backlog is not None and time.monotonic() - started > 0.6:  # the load processes have begun
                self._seen.append(backlog)
