"""When which outage is provoked: drawn from a seed, so that a run can be repeated."""

import random
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.system.mixed import outages, replaced, restarts
from tests.system.mixed.stage import Stage

Provoke = Callable[[Stage], None]

REPLACED = (replaced.older_copy, replaced.lagging_replica)
"""The two ways of O1; a long run provokes both."""

OF_THE_TABLE: tuple[Provoke, ...] = (
    *REPLACED,
    outages.memory,
    outages.hanging_drain,
    outages.demoted_cache,
    outages.read_only_ledger,
    outages.full_disks,
    outages.future_stream_ids,
    outages.changed_columns,
    outages.queue_away,
    outages.no_drains,
    restarts.options_in_url,
    replaced.empty_cache,
    restarts.damaged_log,
    outages.full_ledger_disk,
)
KILLS: tuple[Provoke, ...] = (
    outages.killed_api,
    outages.killed_drains,
    outages.killed_cache,
    outages.killed_ledger,
    outages.killed_scheduler,
    restarts.killed_with_everything,
)
NEED_DISKS = {outages.full_disks, outages.full_ledger_disk}

QUICK: tuple[Provoke, ...] = (
    outages.memory,
    outages.demoted_cache,
    outages.read_only_ledger,
    outages.future_stream_ids,
    outages.queue_away,
    outages.no_drains,
    outages.killed_api,
    outages.killed_drains,
    outages.killed_cache,
)
"""Outages of some seconds, for the short form, which adds one that replaces the cache."""

AT_LEAST_BETWEEN_S = 8.0
"""Load without an outage between two of them."""

FIRST, LAST = 0.02, 0.95
"""The part of a run within which outages begin."""


@dataclass(frozen=True)
class Programme:
    """Outages in their order, each with the second of the run at which it is due."""

    acts: Sequence[tuple[float, Provoke]]

    def run(self, stage: Stage) -> None:
        """Provoke each when it is due, and not before the one before it has passed."""
        began = time.monotonic()
        for due_s, provoke in self.acts:
            time.sleep(max(AT_LEAST_BETWEEN_S, began + due_s - time.monotonic()))
            try:
                provoke(stage)
            except Exception as error:  # the others are provoked all the same, and the run fails at its end
                stage.find(f"{provoke.__name__} broke off: {error!r}")
                stage.say(traceback.format_exc())
        time.sleep(AT_LEAST_BETWEEN_S)


def long_programme(chance: random.Random, seconds: float, *, with_disks: bool) -> Programme:
    """Each outage of the table once, and each kill, at random moments."""
    chosen = [one for one in OF_THE_TABLE + KILLS if with_disks or one not in NEED_DISKS]
    chance.shuffle(chosen)
    moments = sorted(chance.uniform(FIRST * seconds, LAST * seconds) for _ in chosen)
    return Programme(list(zip(moments, chosen, strict=True)))


def short_programme(chance: random.Random) -> Programme:
    """Two outages and a replaced cache, one soon after the other."""
    chosen = [*chance.sample(QUICK, 2), chance.choice((replaced.older_copy, replaced.empty_cache))]
    chance.shuffle(chosen)
    return Programme([(0.0, one) for one in chosen])


def named(names: str) -> Programme:
    """These outages, by the names of their functions, in this order: for looking into one."""
    known = {one.__name__: one for one in (*OF_THE_TABLE, *KILLS, restarts.stopped_and_started)}
    return Programme([(0.0, known[name]) for name in names.split(",")])
