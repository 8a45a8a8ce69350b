"""The cache is replaced while payments go on: an auditor checks every acknowledgement against ledger and breaks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import Any

import pytest

from app.domain.errors import Fault
from app.services.payments.outcomes import Accepted
from app.services.payments.submit import Payments
from app.services.proofs.cache_identity import CacheIdentity
from tests.builders import account_in, payment
from tests.databases import Databases
from tests.patience import until
from tests.services.own_cache import OwnCache, own_cache
from tests.world import World

WALLETS = 6
OPENING = 1_000
PAYERS_PER_PROCESS = 2
PAYMENTS_BEFORE, PAYMENTS_AFTER = 150, 300


@dataclass
class Traffic:
    """What was acknowledged, in order, by payment id."""

    acknowledged: list[str] = field(default_factory=list)
    after_notice: set[str] = field(default_factory=set)
    noticed: Event = field(default_factory=Event)
    stopped: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def note(self, payment_id: str, *, began_after_notice: bool) -> None:
        with self.lock:
            self.acknowledged.append(payment_id)
            if began_after_notice:
                self.after_notice.add(payment_id)

    def has(self, count: int) -> bool:
        return len(self.acknowledged) >= count


def older_copy(server: OwnCache, world: World) -> Callable[[], None]:
    copy = server.copy()
    return lambda: server.put_back(copy)


def lagging_replica(server: OwnCache, world: World) -> Callable[[], None]:
    replica = server.replica()
    replica.catch_up()
    replica.cut_off()
    return replica.promote


def emptied(server: OwnCache, world: World) -> Callable[[], None]:
    return lambda: world.client.flushall() and None


def turned_back_under_open_connections(server: OwnCache, world: World) -> Callable[[], None]:
    """No connection breaks, so only the look each second can notice it."""
    with server.client() as client:
        names = list(client.scan_iter())
    raw = server.client()
    raw.connection_pool.connection_kwargs["decode_responses"] = False
    kept = {name: raw.dump(name) for name in names}

    def turn_back() -> None:
        with raw.pipeline(transaction=True) as pipeline:
            pipeline.flushall()
            for name, value in kept.items():
                if value is not None:
                    pipeline.restore(name, 0, value)
            pipeline.execute()
        raw.close()

    return turn_back


WAYS = [older_copy, lagging_replica, emptied, turned_back_under_open_connections]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_overdrawn_or_doubled_and_every_lost_payment_is_named(
    few_partitions: Databases, way: Callable[[OwnCache, World], Callable[[], None]]
) -> None:
    with own_cache() as server, few_partitions.lent() as urls:
        world = World(replace(urls, redis_url=server.url))
        world.bank()
        wallets = [account_in(number % 4, f"w{number}") for number in range(WALLETS)]
        for name in wallets:
            world.account(name, balance_minor=OPENING)
        world.identity.note()
        traffic = Traffic()
        with going_on(world, wallets, traffic):
            until(lambda: traffic.has(PAYMENTS_BEFORE))
            replace_cache = way(server, world)
            until(lambda: traffic.has(2 * PAYMENTS_BEFORE))
            replace_cache()
            until(traffic.noticed.is_set)
            seen = len(traffic.acknowledged)
            until(lambda: traffic.has(seen + PAYMENTS_AFTER))
        audit(world, wallets, traffic)
        world.close()


@contextmanager
def going_on(world: World, wallets: list[str], traffic: Traffic) -> Iterator[None]:
    """Two processes that pay and look, a drain, and the scheduler's look."""
    processes = [world.new_payment_services(world.new_cache()) for _ in range(2)]
    watched: list[CacheIdentity] = [one.identity for one in processes]
    drain = world.new_drain(clock=time.monotonic)
    with ThreadPoolExecutor(2 * PAYERS_PER_PROCESS + 5) as threads:
        running = [
            threads.submit(pay, one.payments, wallets, traffic, 10 * number + payer)
            for number, one in enumerate(processes)
            for payer in range(PAYERS_PER_PROCESS)
        ]
        running.append(threads.submit(repeat, traffic, 0.01, drain.run_once))
        running += [threads.submit(repeat, traffic, 0.5, one.check) for one in watched]
        running.append(threads.submit(repeat, traffic, 0.1, world.new_identity().note))
        running.append(threads.submit(repeat, traffic, 0.05, lambda: notice(world, traffic)))
        try:
            yield
        finally:
            traffic.stopped.set()
        for one in running:
            one.result()
    for one in watched:
        one.check()
    world.drain(drain)
    for one in watched:
        one.check()


def repeat(traffic: Traffic, pause_s: float, work: Callable[[], Any]) -> None:
    while not traffic.stopped.wait(pause_s):
        try:
            work()
        except Fault:
            continue  # the cache is away


def notice(world: World, traffic: Traffic) -> None:
    found = world.rows("SELECT 1 FROM cache_identity WHERE generation > 1 AND opened_at IS NOT NULL")
    if found:
        traffic.noticed.set()


def pay(payments: Payments, wallets: list[str], traffic: Traffic, seed: int) -> None:
    chance = random.Random(seed)
    number = 0
    while not traffic.stopped.wait(0.002):
        number += 1
        source, destination = chance.sample(wallets, 2)
        request = payment(source, destination, chance.choice((1, 50, 400)), external_id=f"{seed}-{number}")
        has_noticed = traffic.noticed.is_set()
        try:
            outcome = payments.submit_one(request, "key:test")
        except Fault:
            continue
        if isinstance(outcome, Accepted):
            traffic.note(outcome.payment_id, began_after_notice=has_noticed)


def audit(world: World, wallets: list[str], traffic: Traffic) -> None:
    answered = {row[0] for row in world.rows("SELECT payment_id FROM ledger_transaction")}
    rejected = {row[0] for row in world.rows("SELECT payment_id FROM payment_rejection")}
    breaks = world.rows("SELECT figures FROM reconciliation_break WHERE kind = 'cache_lost' AND state = 'open'")
    named = {one for (figures,) in breaks for one in figures["payment_ids"]}
    counted = sum(figures["lost_payments"] for (figures,) in breaks)
    lost = set(traffic.acknowledged) - answered - rejected
    assert len(traffic.acknowledged) == len(set(traffic.acknowledged)), "an id was given twice"
    assert named == lost
    assert counted == len(lost)
    assert not rejected & traffic.after_notice, "an overdraft was acknowledged after the change was noticed"
    balances = [world.booked(name) for name in wallets]
    assert min(balances) >= 0
    assert sum(balances) == WALLETS * OPENING
    assert [world.warm(name).funds.balance_minor for name in wallets] == balances
    world.assert_proven()
