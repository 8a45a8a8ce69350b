"""Processes and servers that go away under a running system: what goes on without them, and how soon it is told."""

import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict

from app.embedded.valkey import CacheServer as Valkey
from tests.patience import until
from tests.system.harness import BANK, Client, System, payment

WITHIN_S = 10.0
"""How soon a lasting failure is told; a machine under load gets some seconds more than it takes."""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Valkey]:
    """A server for the queues alone."""
    (tmp_path / "queue" / "logs").mkdir(parents=True)
    server = Valkey(tmp_path / "queue", "secret")
    server.begin()
    server.finish()
    yield server
    server.stop()


@pytest.fixture
def system(tmp_path: Path, queue: Valkey) -> Iterator[System]:
    """A system of this test's own, whose queues live on a server of theirs."""
    system = System(tmp_path / "system", HOLDFAST_QUEUE_URL=queue.url)
    yield system.start()
    system.stop()


@pytest.fixture
def client(system: System) -> Client:
    """Alice with money."""
    client = system.client()
    client.account(BANK, "asset")
    client.account("alice")
    client.fund("alice", 1_000)
    return client


def status(system: System) -> str:
    return str(system.readiness().body["status"])


def test_without_the_queues_server_everything_goes_on(system: System, client: Client, queue: Valkey) -> None:
    until(lambda: status(system) == "ready")
    workers = {one.pid for part in ("drain", "schedule", "maintain") for one in system.named(f"workers.{part}")}
    queue.stop()
    until(lambda: status(system) == "degraded")
    began = time.monotonic()
    posted = client.pay(payment("alice", BANK, 100), prefer="wait=30")
    assert (posted.status, posted.body["status"]) == (201, "posted")
    assert time.monotonic() - began < WITHIN_S
    authorized = client.pay(payment("alice", BANK, 100, capture="manual", expires_in_s=1))
    assert authorized.status == 201, authorized.body
    until(lambda: client.balance("alice")["held_minor"] == 0)
    assert {one.pid for part in ("drain", "schedule", "maintain") for one in system.named(f"workers.{part}")} == workers
    queue.begin()
    queue.finish()
    until(lambda: status(system) == "ready")
    system.prove()


def test_drains_that_are_gone_are_missed_within_seconds(system: System, client: Client) -> None:
    assert system.process is not None
    drains = system.named("workers.drain")
    supervisor = psutil.Process(system.process.pid)
    supervisor.send_signal(SIGSTOP)  # else it would start them again at once
    try:
        for drain in drains:
            drain.kill()
        killed_at = time.monotonic()
        until(lambda: system.readiness().status == 503)
        assert time.monotonic() - killed_at < WITHIN_S
        assert not system.readiness().body["checks"]["workers"]["ok"]
        assert client.pay(payment("alice", BANK, 1)).status == 201, "payments are accepted, and stay pending"
        until(lambda: not system.readiness().body["checks"]["posting"]["ok"])
    finally:
        supervisor.send_signal(SIGCONT)
    until(lambda: status(system) == "ready" and system.readiness().body["backlog"] == 0)
    system.prove()


def test_every_process_says_who_it_is(system: System) -> None:
    cache, names = system.cache(), {"holdfast-api", "holdfast-drain", "holdfast-schedule", "holdfast-subscriber"}
    until(lambda: names <= {one["name"] for one in cache.client_list()})
    user = conninfo_to_dict(system.running.database_url)["user"]
    sessions = system.sql("SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = %s", user)
    assert sessions
    assert all(name.startswith("holdfast ") for (name,) in sessions)


def test_a_drain_that_hangs_is_replaced_by_the_other_before_anything_turns_red(system: System, client: Client) -> None:
    drains = system.named("workers.drain")
    drains[0].suspend()
    try:
        for _ in range(3):
            posted = client.pay(payment("alice", BANK, 1), prefer="wait=30")
            assert (posted.status, posted.body["status"]) == (201, "posted")
        assert status(system) == "ready"
    finally:
        drains[0].resume()
    system.prove()


def test_drains_empty_a_cache_without_memory_and_payments_wait_for_room(tmp_path: Path) -> None:
    """The queues live on the same server, as they do by default."""
    system = System(tmp_path / "full").start()
    try:
        client = system.client()
        client.account(BANK, "asset")
        client.account("alice")
        client.fund("alice", 1_000)
        for drain in system.named("workers.drain"):
            drain.suspend()
        accepted = [client.pay(payment("alice", BANK, 1)).status for _ in range(20)]
        assert accepted == [201] * 20
        system.cache().config_set("maxmemory", "1")
        for drain in system.named("workers.drain"):
            drain.kill()  # those that are started in their place register with RQ on a server without memory
        until(lambda: system.readiness().body["backlog"] == 0, system.output)
        assert client.balance("alice")["balance_minor"] == 980
        until(lambda: client.pay(payment("alice", BANK, 1)).code == "cache_full")
        until(lambda: system.readiness().body["checks"]["workers"]["ok"])
        assert not system.readiness().body["checks"]["cache_memory"]["ok"]
        system.cache().config_set("maxmemory", "0")
        until(lambda: client.pay(payment("alice", BANK, 1)).status == 201)
        system.wait_posted()
        system.prove()
    finally:
        system.cache().config_set("maxmemory", "0")
        system.stop()
