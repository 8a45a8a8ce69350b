"""Payments that continue while a proof or a repair runs."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread

from app.services.payments.outcomes import Accepted
from app.services.posting.contention import LONGEST_DELAY_S
from tests.builders import payment
from tests.patience import PATIENCE_S
from tests.world import World

PAYERS = 2


@dataclass
class Load:
    """The payments under way, and what came of them."""

    accepted: list[str] = field(default_factory=list)
    """The external ids of the accepted payments."""
    failures: list[BaseException] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def repeat(self, work: Callable[[], object]) -> None:
        """Work until the load stops; a failure stops all threads."""
        try:
            while not self.stopped.is_set():
                work()
        except BaseException as error:
            self.failures.append(error)
            self.stopped.set()


@contextmanager
def under_load(world: World, names: Sequence[str], *, at_once: int, drains: int, batch_limit: int) -> Iterator[Load]:
    """Two clients pay between these accounts and the bank, `at_once` payments a call, and drains post meanwhile.

    At the end nothing has failed, everything is posted, and ledger and cache are proven to agree.
    """
    load = Load()
    works = [_payer(world, names, load, number, at_once) for number in range(1, PAYERS + 1)]
    works += [world.new_drain(batch_limit=batch_limit, clock=skipping_delays()).run_once for _ in range(drains)]
    threads = [Thread(target=load.repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join(timeout=PATIENCE_S)
    assert load.failures == []
    world.drain(world.new_drain(clock=skipping_delays()), rounds=1_000)
    world.assert_proven()


def _payer(world: World, names: Sequence[str], load: Load, number: int, at_once: int) -> Callable[[], None]:
    payments, chance, numbers = world.new_payments(world.new_cache()), random.Random(number), count()

    def pay() -> None:
        wanted = []
        for _ in range(at_once):
            source, destination = chance.sample([*names, "bank"], 2)
            external_id = f"load-{number}-{next(numbers)}"
            wanted.append(payment(source, destination, chance.randint(1, 400), external_id=external_id))
        outcomes = payments.submit(wanted, "key:load")
        load.accepted.extend(
            one.external_id for one, outcome in zip(wanted, outcomes, strict=True) if isinstance(outcome, Accepted)
        )

    return pay


def skipping_delays() -> Callable[[], float]:
    """A clock that moves at every look by the longest delay, so that no drain waits before it tries again."""
    ticks = count()
    return lambda: next(ticks) * LONGEST_DELAY_S
