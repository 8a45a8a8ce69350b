"""The loop of a drain: it needs no queue, survives what fails, and says how it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from app.domain.errors import CacheFull, LedgerUnavailable
from tests.patience import PATIENCE_S, until
from tests.services.faults import Overridden
from tests.world import World
from workers.drain import DrainLoop, DrainProgress, beat


@contextmanager
def running(world: World, cache: Any = None) -> Iterator[DrainProgress]:
    """A drain at work; nobody rings its bell."""
    progress, stopped, bell = DrainProgress(), Event(), Event()
    loop = DrainLoop(world.new_drain(cache=cache), progress, bell, stopped)
    thread = Thread(target=loop.run, daemon=True)
    thread.start()
    yield progress
    stopped.set()
    bell.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def shop(world: World) -> World:
    """Alice with money, and the bank."""
    world.bank()
    world.account("alice", balance_minor=100)
    return world


def test_it_posts_what_nobody_wakes_it_for(shop: World) -> None:
    with running(shop):
        shop.accepted("alice", "bank", 10, "unheard")
        until(lambda: "unheard" in shop.posted_external_ids())


def test_a_mark_that_cannot_be_made_stops_nothing(shop: World) -> None:
    def full() -> None:
        raise CacheFull("no memory")

    with running(shop, Overridden(shop.new_cache(), mark_awake=full, mark_asleep=full)):
        shop.accepted("alice", "bank", 10, "unmarked")
        until(lambda: "unmarked" in shop.posted_external_ids())


def test_it_goes_on_after_whatever_failed_and_tells_why_meanwhile(shop: World) -> None:
    failures: list[Exception] = [LedgerUnavailable("disk full"), RuntimeError("a defect")]

    def backlog() -> dict[int, int]:
        if failures:
            raise failures.pop()
        return cache.outbox.backlog()

    cache = shop.new_cache()
    shop.accepted("alice", "bank", 10, "late")
    with running(shop, Overridden(cache, backlog=backlog)) as progress:
        until(lambda: progress.failure == "RuntimeError: a defect")
        assert progress.idle_s is None
        until(lambda: "late" in shop.posted_external_ids())
        until(lambda: progress.failure == "" and progress.idle_s is not None)


def test_a_read_only_ledger_is_a_fault_and_no_failed_job(shop: World) -> None:
    shop.accepted("alice", "bank", 10, "waits")
    with shop.read_only_ledger(), running(shop) as progress:
        until(lambda: "read-only" in progress.failure)
    shop.drain()
    assert "waits" in shop.posted_external_ids()


def test_its_heartbeat_is_heard_until_it_stops(shop: World) -> None:
    progress, stopped = DrainProgress(), Event()
    thread = Thread(target=beat, args=(shop.cache.heartbeats, progress, stopped), daemon=True)
    thread.start()
    progress.failed(LedgerUnavailable("no space\nleft"))
    until(lambda: [one.failure for one in shop.cache.heartbeats.all()] == ["LedgerUnavailable: no space left"])
    progress.succeeded()
    until(lambda: [one.failure for one in shop.cache.heartbeats.all()] == [""])
    [heartbeat] = shop.cache.heartbeats.all()
    assert heartbeat.idle_s is not None
    assert heartbeat.idle_s < PATIENCE_S
    stopped.set()
    thread.join(PATIENCE_S)
    silent_for = shop.cache.heartbeats.all()[0].age_s
    until(lambda: shop.cache.heartbeats.all()[0].age_s > silent_for)
