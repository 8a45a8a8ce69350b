"""kill −9 in the middle of load: everything acknowledged is posted exactly once, within seconds, without help."""

import json
import os
from collections.abc import Callable

import psutil
import pytest

from tests.patience import PATIENCE_S, until
from tests.system.harness import System, command_line, payment
from tests.system.load import Traffic, audit, open_wallets

WALLETS = 24
BEFORE, AFTER = 300, 300
"""Payments answered before the kill, and after it."""
KILLS = 5 if os.environ.get("HOLDFAST_LONG") == "1" else 1

VICTIMS: dict[str, Callable[[System], list[psutil.Process]]] = {
    "a drain worker": lambda system: system.named("workers.drain")[:1],
    "every drain worker": lambda system: system.named("workers.drain"),
    "the maintenance worker": lambda system: system.named("workers.maintain"),
    "the scheduler": lambda system: system.named("workers.schedule"),
    "the cache": lambda system: system.named("valkey-server"),
    "the database": lambda system: system.named("/postgres -D"),
    "a backend of the database": lambda system: [
        backend
        for server in system.named("/postgres -D")
        for backend in server.children()
        if "holdfast" in command_line(backend)  # its title says whom it serves
    ][:1],
    "a worker of the API": lambda system: system.api_workers()[:1],
    "the API": lambda system: system.named("granian"),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_is_killed_under_load_nothing_acknowledged_is_lost_or_posted_twice(
    system: System, victim: str
) -> None:
    prefix = victim.replace(" ", "-")
    opening = open_wallets(system, prefix, WALLETS, 5_000)
    traffic = Traffic(system, list(opening), prefix)
    try:
        for _ in range(KILLS):
            traffic.wait_for_more(BEFORE)
            until(lambda: bool(VICTIMS[victim](system)))  # those killed before may still be due to start
            victims = VICTIMS[victim](system)
            for process in victims:
                process.kill()
            psutil.wait_procs(victims, timeout=PATIENCE_S)
            traffic.wait_for_more(AFTER)
    finally:
        sent = traffic.stop()
    system.wait_posted()
    counts = audit(system, sent, opening)
    assert counts["accepted"] >= BEFORE
    system.prove()
    print(f"\n{victim}: {dict(counts)}")


def test_a_ledger_that_is_away_does_not_stop_payments_and_catches_up_when_it_is_back(system: System) -> None:
    first, second = open_wallets(system, "away", 2, 5_000)
    for client in [system.client() for _ in range(16)]:  # so many that each process of the API serves some
        assert client.pay(payment(first, second, 1)).status == 201
        client.close()
    client = system.client()
    assert client.pay(payment(first, second, 1)).status == 201  # and the one that serves this connection
    system.wait_posted()
    [server] = system.named("/postgres -D")
    server.suspend()  # it answers nobody, and nobody starts it again
    backends = server.children(recursive=True)
    for backend in backends:
        backend.suspend()
    try:
        outbox_positions = []
        for number in range(20):
            answer = client.pay(payment(first, second, 10, external_id=f"away-{number}"))
            assert answer.status == 201, answer.body
            outbox_positions.append(f"/v1/payments/{answer.body['payment_id']}")
        assert client.get(outbox_positions[0])["status"] == "pending"
        assert client.balance(first)["held_minor"] == 200
        stranger = client.pay(payment(first, "nobody has asked for this one", 10))
        assert (stranger.status, stranger.code) == (503, "ledger_unavailable"), "and in time, not when they are back"
    finally:
        for process in [*backends, server]:
            process.resume()
    system.wait_posted()
    assert {client.get(outbox_position)["status"] for outbox_position in outbox_positions} == {"posted"}
    assert client.balance(second)["balance_minor"] == 5_217
    client.close()
    system.prove()


def test_a_cache_that_lost_everything_is_filled_from_the_ledger_and_creates_no_money(system: System) -> None:
    opening = open_wallets(system, "emptied", 3, 1_000)
    client = system.client()
    with system.cache() as cache:
        cache.flushall()
    for name in opening:
        assert client.balance(name)["available_minor"] == 1_000
    answer = client.pay(payment("emptied-0", "emptied-1", 1_001))
    assert (answer.status, answer.code) == (422, "insufficient_funds")
    assert client.pay(payment("emptied-0", "emptied-1", 1_000), prefer="wait=30").body["status"] == "posted"
    client.close()
    system.wait_posted()
    report = json.loads(system.run("reconcile", "--full", "--json", check=1).stdout)
    assert [(one["kind"], one["figures"]["reason"]) for one in report["breaks"]] == [
        ("cache_lost", "the cache is empty")
    ]
    system.run("reconcile", "--accept-losses", "a test emptied it", check=0)
    system.prove()


def test_a_restart_finds_everything_where_it_was(system: System) -> None:
    opening = open_wallets(system, "restarted", 2, 1_000)
    client = system.client()
    body = payment("restarted-0", "restarted-1", 300, external_id="before the restart")
    accepted = client.pay(body)
    refused = client.pay(payment("restarted-0", "restarted-1", 5_000, external_id="too much"))
    assert (accepted.status, refused.status) == (201, 422)
    client.close()
    key = system.key
    system.stop()
    system.start()
    assert system.key == key
    client = system.client()
    system.wait_posted()
    replay = client.pay(body)
    assert (replay.status, replay.body["payment_id"]) == (200, accepted.body["payment_id"])
    assert client.get(f"/v1/payments/{accepted.body['payment_id']}")["status"] == "posted"
    again = client.pay(payment("restarted-0", "restarted-1", 5_000, external_id="too much"))
    assert (again.status, again.body) == (422, refused.body)
    assert [client.balance(name)["balance_minor"] for name in opening] == [700, 1_300]
    client.close()
    system.prove()
